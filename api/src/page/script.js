
"use strict";
(() => {
  const feed = document.getElementById("feed");
  const notice = document.getElementById("notice");
  const panel = document.getElementById("panel");
  const comments = document.getElementById("comments");
  const sound = document.getElementById("sound");
  const node = document.getElementById("node");
  const copy = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

  let position = "";     // how far this page has seen, so that no node shows it less
  let nextTime = 0;      // the bound of the next page; 0: the newest
  let isLoading = false;
  let isAtEnd = false;
  let isLoud = false;
  const shown = new Set();

  async function ask(path) {
    const headers = position ? { "X-Yin-Session": position } : {};
    const response = await fetch(path, { headers });
    position = response.headers.get("X-Yin-Session") || position;
    const answered = response.headers.get("X-Yin-Node");
    if (answered) node.textContent = "node " + answered;
    const body = await response.json();
    if (body.status_code !== 0) {
      if (body.status_code >= 2006 && body.status_code <= 2008) position = "";
      throw new Error(body.status_msg);
    }
    return body;
  }

  const count = new Intl.NumberFormat("en", { notation: "compact" });

  function show(item) {
    const article = copy("video");
    const video = article.querySelector("video");
    video.poster = item.cover_url;
    video.dataset.src = item.play_url;
    video.muted = !isLoud;
    video.addEventListener("click", () => (video.paused ? play(video) : video.pause()));
    video.addEventListener("error", () => article.classList.toggle("failed", Boolean(video.src)));
    article.querySelector(".avatar").src = item.author.avatar;
    article.querySelector(".author").textContent = "@" + item.author.name;
    article.querySelector(".title").textContent = item.title;
    article.querySelector(".likes").append(count.format(item.favorite_count));
    const talk = article.querySelector(".talk");
    talk.append(count.format(item.comment_count));
    talk.addEventListener("click", () => openPanel(item.id));
    feed.insertBefore(article, notice);
    watcher.observe(article);
    return article;
  }

  function play(video) {
    if (!video.src) video.src = video.dataset.src;
    video.muted = !isLoud;
    // A browser may refuse to play with sound before the first click: then without.
    video.play().catch(() => { video.muted = true; video.play().catch(() => {}); });
  }

  // Only what is seen plays; what is far away gives its memory back.
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const video = entry.target.querySelector("video");
      if (entry.isIntersecting) {
        play(video);
        const left = feed.querySelectorAll("article");
        if ([...left].indexOf(entry.target) >= left.length - 5) load();
      } else {
        video.pause();
        if (video.src) { video.removeAttribute("src"); video.load(); }
      }
    }
  }, { root: feed, threshold: 0.6 });

  new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) load();
  }, { root: feed }).observe(notice);

  async function load() {
    if (isLoading || isAtEnd) return;
    isLoading = true;
    try {
      const query = nextTime ? "?latest_time=" + nextTime : "";
      const page = await ask("douyin/feed/" + query);
      // Who looks at the notice waits for what comes in its place.
      const isWaiting = feed.scrollTop + feed.clientHeight / 2 >= notice.offsetTop;
      const fresh = page.video_list.filter((item) => !shown.has(item.id));
      const articles = fresh.map((item) => { shown.add(item.id); return show(item); });
      if (isWaiting && articles.length) articles[0].scrollIntoView({ behavior: "instant" });
      nextTime = page.next_time;
      isAtEnd = page.video_list.length === 0;
      notice.textContent = !isAtEnd ? "Loading…"
        : shown.size ? "That was everything. Tap to look for more." : "No videos yet. Publish one, then tap here.";
    } catch (error) {
      notice.textContent = "That did not work: " + error.message + " Tap to try again.";
    } finally {
      isLoading = false;
    }
  }

  notice.addEventListener("click", () => {
    isAtEnd = false;
    if (!shown.size) nextTime = 0;
    load();
  });

  async function openPanel(id) {
    panel.hidden = false;
    comments.replaceChildren(line("Loading…"));
    try {
      const body = await ask("douyin/comment/list/?limit=200&video_id=" + id);
      comments.replaceChildren(...body.comment_list.map((comment) => {
        const item = copy("comment");
        item.querySelector(".avatar").src = comment.user.avatar;
        item.querySelector(".author").textContent = comment.user.name;
        item.querySelector("time").textContent = comment.create_date;
        item.querySelector(".text").textContent = comment.content;
        return item;
      }));
      if (!body.comment_list.length) comments.append(line("No comments yet."));
    } catch (error) {
      comments.replaceChildren(line(error.message));
    }
  }

  function line(text) {
    const item = document.createElement("li");
    item.className = "none";
    item.textContent = text;
    return item;
  }

  document.getElementById("close").addEventListener("click", () => { panel.hidden = true; });

  sound.addEventListener("click", () => {
    isLoud = !isLoud;
    sound.textContent = isLoud ? "Sound is on" : "Sound is off";
    sound.setAttribute("aria-pressed", String(isLoud));
    for (const video of feed.querySelectorAll("video")) video.muted = !isLoud;
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") panel.hidden = true;
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    if (step && panel.hidden) {
      event.preventDefault();
      feed.scrollBy({ top: step * feed.clientHeight, behavior: "smooth" });
    }
  });

  load();
})();
