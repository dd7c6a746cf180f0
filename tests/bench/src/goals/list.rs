//! All goals, in words and figures.
use super::{Bound, Figure, Goal, Measure, Side};
use crate::case::{HIQLITE, LASTING, USUAL};
use crate::wires;

const fn rate(name: &'static str) -> Side {
    Side::Case(name, USUAL, Figure::PerSecond)
}

const fn rate_at(name: &'static str, connections: usize) -> Side {
    Side::Case(name, connections, Figure::PerSecond)
}

const fn p99(name: &'static str) -> Side {
    Side::Case(name, USUAL, Figure::P99)
}

const fn cpu(name: &'static str) -> Side {
    Side::Case(name, USUAL, Figure::ServerCpu)
}

fn goal(number: &'static str, what: &'static str, bound: Bound, measure: Measure) -> Goal {
    Goal {
        number,
        what,
        measure,
        bound,
    }
}

/// In groups: writes, reads, more of everything, a node's life.
pub(super) fn goals() -> Vec<Goal> {
    let mut goals = write_goals();
    goals.extend(read_goals());
    goals.extend(scaling_goals());
    goals.extend(life_goals());
    goals
}

fn write_goals() -> Vec<Goal> {
    use Bound::{AtLeast, AtMost};
    use Measure::{Ratio, Written};
    vec![
        goal(
            "1",
            "like/s ÷ etcd put/s",
            AtLeast(2.5),
            Ratio(rate("like"), rate("etcd-put")),
        ),
        goal(
            "2",
            "like/s ÷ etcd transaction of the same work",
            AtLeast(4.5),
            Ratio(rate("like"), rate("etcd-like")),
        ),
        goal(
            "3a",
            "like/s ÷ MariaDB, 5 trips, one node",
            AtLeast(3.6),
            Ratio(rate("like"), rate("mariadb-like")),
        ),
        goal(
            "3b",
            "like/s ÷ MariaDB procedure, one node",
            AtLeast(1.75),
            Ratio(rate("like"), rate("mariadb-like-procedure")),
        ),
        goal(
            "3c",
            "like/s ÷ hiqlite durable insert",
            AtLeast(7.0),
            Ratio(rate("like"), rate(HIQLITE)),
        ),
        goal(
            "4a",
            "like/s ÷ bare replicated HTTP put, 64",
            AtLeast(0.45),
            Ratio(rate("like"), rate("append")),
        ),
        goal(
            "4b",
            "like/s ÷ bare replicated HTTP put, 256",
            AtLeast(0.4),
            Ratio(rate_at("like", 256), rate_at("append", 256)),
        ),
        goal(
            "5",
            "server CPU per like ÷ per axum hello",
            AtMost(9.0),
            Ratio(cpu("like"), cpu("axum-hello")),
        ),
        goal(
            "6",
            "likes of one hot video ÷ likes spread",
            AtLeast(0.95),
            Ratio(rate("like-hot"), rate("like")),
        ),
        goal(
            "7",
            "like p50, one client ÷ one synced append",
            AtMost(2.5),
            Ratio(Side::Case("like", 1, Figure::P50), Side::Sync),
        ),
        goal(
            "15",
            "bytes written per like ÷ 3 records of 200 B",
            AtMost(3.5),
            Written(LASTING),
        ),
    ]
}

fn read_goals() -> Vec<Goal> {
    use Bound::{AtLeast, AtMost};
    use Measure::Ratio;
    vec![
        goal(
            "8",
            "read where the client stays ÷ axum hello",
            AtLeast(0.75),
            Ratio(rate("read"), rate("axum-hello")),
        ),
        goal(
            "9",
            "linearizable read/s ÷ etcd's",
            AtLeast(3.0),
            Ratio(rate("read-linearizable"), rate("etcd-get")),
        ),
        goal(
            "10",
            "local read/s ÷ etcd serializable get/s",
            AtLeast(4.0),
            Ratio(rate("read-local"), rate("etcd-get-local")),
        ),
        goal(
            "11a",
            "feed with viewer ÷ axum serialising the page",
            AtLeast(0.9),
            Ratio(rate("feed-viewer"), rate("axum-page")),
        ),
        goal(
            "11b",
            "feed with viewer ÷ MariaDB",
            AtLeast(4.5),
            Ratio(rate("feed-viewer"), rate("mariadb-feed")),
        ),
        goal(
            "11c",
            "feed with viewer ÷ Redis-cached",
            AtLeast(2.3),
            Ratio(rate("feed-viewer"), rate("redis-feed")),
        ),
        goal(
            "12",
            "feed anonymous ÷ axum serialising the page",
            AtLeast(1.5),
            Ratio(rate("feed"), rate("axum-page")),
        ),
        goal(
            "13a",
            "read p99 at half its maximum ÷ axum at that rate",
            AtMost(1.2),
            Ratio(p99("read-open"), p99("hello-open")),
        ),
        goal(
            "13b",
            "read p99 with likes at half maximum ÷ without",
            AtMost(1.5),
            Ratio(p99("read+like"), p99("read-open")),
        ),
        goal(
            "14",
            "read p99 with logins at half capacity ÷ without",
            AtMost(1.3),
            Ratio(p99("read+login"), p99("read-open")),
        ),
    ]
}

fn scaling_goals() -> Vec<Goal> {
    use Bound::{AtLeast, AtMost};
    use Measure::{
        Depth, InstallLikes, InstallReads, InstallSpeed, LearnerCost, LikeCost, Ratio, ReadsScale,
    };
    vec![
        goal(
            "16",
            "reads, 3 nodes ÷ 3 × one, 0.15 core each",
            AtLeast(0.9),
            ReadsScale,
        ),
        goal("17a", "CPU per like, 5 nodes ÷ 3", AtMost(1.5), LikeCost),
        goal(
            "17b",
            "likes/s, 3 nodes ÷ 3 and a learner",
            AtMost(1.05),
            LearnerCost,
        ),
        goal(
            "19a",
            "like CPU, 10 M ÷ 10 k objects",
            AtMost(1.3),
            Depth("like"),
        ),
        goal(
            "19b",
            "point read CPU, 10 M ÷ 10 k objects",
            AtMost(1.4),
            Depth("read"),
        ),
        goal(
            "19c",
            "feed CPU, 10 M ÷ 10 k objects",
            AtMost(1.2),
            Depth("feed-viewer"),
        ),
        goal(
            "20",
            "likes/s over QUIC ÷ over TCP",
            AtLeast(0.95),
            Ratio(rate(wires::QUIC), rate(wires::TCP)),
        ),
        goal(
            "21a",
            "snapshot install ÷ quinn bulk stream",
            AtLeast(0.6),
            InstallSpeed,
        ),
        goal(
            "21b",
            "read p99 while a node joins ÷ before",
            AtMost(1.5),
            InstallReads,
        ),
        goal(
            "21c",
            "like p99 while a node joins ÷ before",
            AtMost(1.5),
            InstallLikes,
        ),
    ]
}

fn life_goals() -> Vec<Goal> {
    use Bound::{AtLeast, AtMost};
    use Measure::{
        FailoverRatio, FailoverSeconds, IdleMb, Ms, Ratio, RestartSeconds, StartEmptyMs, UploadMb,
    };
    vec![
        goal(
            "18a",
            "leader killed to first write elsewhere, s",
            AtMost(1.5),
            FailoverSeconds,
        ),
        goal(
            "18b",
            "the same ÷ (election max + mean)",
            AtMost(1.15),
            FailoverRatio,
        ),
        goal(
            "22a",
            "chat send + poll round trips/s ÷ likes/s",
            AtLeast(0.7),
            Ratio(rate("chat"), rate("like")),
        ),
        goal(
            "22b",
            "delivery to a waiting poll at another node p99, ms",
            AtMost(20.0),
            Ms(p99("chat-wait-open")),
        ),
        goal(
            "23a",
            "restart with 10 M objects, s",
            AtMost(5.0),
            RestartSeconds,
        ),
        goal("23b", "idle memory of a node, MB", AtMost(300.0), IdleMb),
        goal(
            "23c",
            "growth for a 2 GB upload, MB",
            AtMost(64.0),
            UploadMb,
        ),
        goal(
            "23d",
            "start on an empty directory, ms",
            AtMost(300.0),
            StartEmptyMs,
        ),
    ]
}
