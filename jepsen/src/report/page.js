// Makes the charts answer: one cursor through all of them, what was at that moment, and a closer look.
// Without it the page shows the same, still.
"use strict";
(() => {
  const run = JSON.parse(document.getElementById("run").textContent);
  const charts = document.getElementById("charts");
  const readout = document.getElementById("readout");
  const whole = document.getElementById("whole");
  const times = document.getElementById("times");
  const grid = document.getElementById("ticks");
  const SHORTEST_MS = 200;
  const STEPS_MS = [50, 100, 200, 500].concat(
    [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 86400].map((s) => s * 1000));
  let from = 0;
  let span = run.end;

  const moment = (ms, digits) => {
    const unit = 10 ** (3 - digits);
    const rounded = Math.round(ms / unit) * unit;
    const minutes = Math.floor(rounded / 60000);
    const seconds = ((rounded % 60000) / 1000).toFixed(digits);
    return minutes + ":" + seconds.padStart(digits ? digits + 3 : 2, "0");
  };

  const drawTicks = () => {
    const most = charts.clientWidth < 720 ? 5 : 10;
    const step = STEPS_MS.find((step) => span / step <= most) || STEPS_MS[STEPS_MS.length - 1];
    times.textContent = "";
    grid.textContent = "";
    for (let t = Math.ceil(from / step) * step; t <= from + span; t += step) {
      const label = document.createElement("span");
      label.style.setProperty("--t", t);
      label.textContent = moment(t, step < 1000 ? 2 : 0);
      times.append(label);
      const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
      line.setAttribute("class", "grid");
      line.setAttribute("d", "M" + t + " 0V999");
      grid.append(line);
    }
  };

  const look = (newFrom, newSpan) => {
    span = Math.min(Math.max(newSpan, SHORTEST_MS), run.end);
    from = Math.min(Math.max(newFrom, 0), run.end - span);
    charts.style.setProperty("--from", from);
    charts.style.setProperty("--span", span);
    for (const drawing of charts.querySelectorAll("svg.time")) {
      const height = drawing.viewBox.baseVal.height;
      drawing.setAttribute("viewBox", from + " 0 " + span + " " + height);
    }
    whole.hidden = span >= run.end;
    drawTicks();
  };

  const timeAt = (event, field) => {
    const box = field.getBoundingClientRect();
    return from + ((event.clientX - box.left) / box.width) * span;
  };

  const duration = (us) => us == null ? "–" : us < 1000 ? us + " µs" : us < 1e6
    ? (us / 1000).toPrecision(3) + " ms" : (us / 1e6).toFixed(2) + " s";

  const tell = (t) => {
    const lines = [];
    const phase = run.phases.find(([a, b]) => t >= a && t < b);
    const reign = run.reigns.filter(([at]) => at <= t).pop();
    lines.push(moment(t, 1) + (phase ? " · " + phase[2] : ""));
    if (reign) lines.push("leader last seen: " + reign[1] + ", term " + reign[2]);
    const second = Math.floor(t / run.rate.step);
    const rate = (name) => Math.round((run.rate[name][second] || 0) * 1000 / run.rate.step);
    lines.push(rate("ok") + " ok/s, " + rate("failed") + " failed/s, " + rate("unknown") + " unknown/s");
    const piece = Math.floor(t / run.latency_us.step);
    lines.push("p50 " + duration(run.latency_us.p50[piece]) + ", p99 " + duration(run.latency_us.p99[piece]));
    const faults = run.faults.filter(([a, b]) => t >= a && t <= b);
    for (const fault of faults.slice(0, 6)) lines.push("▸ " + fault[2]);
    if (faults.length > 6) lines.push("and " + (faults.length - 6) + " more faults");
    return lines.join("\n");
  };

  const light = (id) => {
    for (const lit of document.querySelectorAll(".lit")) lit.classList.remove("lit");
    if (id === undefined) return;
    for (const one of [document.getElementById("band-" + id), document.getElementById("fault-" + id),
      charts.querySelector('[data-fault="' + id + '"]')]) if (one) one.classList.add("lit");
  };

  let began = null;
  for (const field of charts.querySelectorAll(".field")) {
    field.addEventListener("pointermove", (event) => {
      const t = timeAt(event, field);
      charts.style.setProperty("--cursor", t);
      readout.hidden = false;
      readout.textContent = tell(t);
      const right = event.clientX > innerWidth / 2;
      readout.style.left = right ? "" : event.clientX + 16 + "px";
      readout.style.right = right ? innerWidth - event.clientX + 16 + "px" : "";
      readout.style.top = Math.min(event.clientY + 14, innerHeight - readout.offsetHeight - 8) + "px";
      if (began !== null) {
        charts.style.setProperty("--pick", Math.min(began, t));
        charts.style.setProperty("--picked", Math.abs(t - began));
      }
      const bar = event.target.closest("[data-fault]");
      light(bar ? bar.dataset.fault : undefined);
    });
    field.addEventListener("pointerleave", () => {
      readout.hidden = true;
      charts.style.removeProperty("--cursor");
      light();
    });
    field.addEventListener("pointerdown", (event) => {
      if (event.button === 0 && !event.target.closest("a")) {
        began = timeAt(event, field);
        event.preventDefault();
      }
    });
    field.addEventListener("dblclick", () => look(0, run.end));
  }
  const drop = () => {
    charts.style.removeProperty("--picked");
    began = null;
  };
  addEventListener("pointerup", (event) => {
    const field = charts.querySelector(".chart .field");
    if (began !== null && field) {
      const ended = timeAt(event, field);
      if (Math.abs(ended - began) > span / 100) look(Math.min(began, ended), Math.abs(ended - began));
    }
    drop();
  });
  addEventListener("pointercancel", drop);
  whole.addEventListener("click", () => look(0, run.end));
  for (const link of document.querySelectorAll("a.go")) {
    link.addEventListener("click", () => {
      const row = link.closest("tr");
      const [a, b] = [Number(row.dataset.from), Number(row.dataset.until)];
      const around = Math.max((b - a) / 2, 5000);
      look(a - around, b - a + 2 * around);
    });
  }

  const copy = document.getElementById("copy");
  if (navigator.clipboard) {
    copy.hidden = false;
    copy.addEventListener("click", () => {
      navigator.clipboard.writeText(document.getElementById("command").textContent)
        .then(() => { copy.textContent = "copied"; }, () => { copy.textContent = "not allowed here"; });
    });
  }
  for (const hint of document.querySelectorAll(".hint")) hint.hidden = false;
  addEventListener("resize", drawTicks);
  drawTicks();
})();
