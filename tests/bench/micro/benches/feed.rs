//! The newest page of the feed: assembled from the state, and as a whole answer through the router.
use std::sync::Once;

use divan::Bencher;
use model::feed::{self, Head};
use model::id::UserId;
use ratchet::{Kind, Scale, Served};

use crate::stage::Stage;

const PAGE: usize = 30;
/// What the api keeps of the feed in memory.
const KEPT: usize = 1_024;
/// The node's.
const VALUE_CACHE_BYTES: usize = 64 << 20;
const SCALE: Scale = Scale {
    users: 50,
    videos: 100,
    edges: 10,
};

#[divan::bench]
fn assemble_anonymous(bencher: Bencher) {
    assemble(bencher, None);
}

#[divan::bench]
fn assemble_with_viewer(bencher: Bencher) {
    assemble(bencher, Some(1));
}

fn assemble(bencher: Bencher, viewer: Option<usize>) {
    let stage = Stage::new();
    let view = stage.store.borrow().view().expect("the state can be read");
    let viewer: Option<UserId> = viewer.map(|number| stage.world.users[number]);
    let head = Head::default().advance(&view, KEPT);
    let head = head.expect("the state can be read");
    bencher.bench_local(|| {
        let page = feed::before_by(&head, &view, viewer, None, PAGE);
        page.expect("the state can be read")
    });
}

/// The whole answer: token, reading, page, JSON.
#[divan::bench(args = [Kind::Feed, Kind::FeedWithViewer, Kind::User])]
fn answer(bencher: Bencher, kind: Kind) {
    static OBSERVED: Once = Once::new();
    OBSERVED.call_once(ratchet::observe);
    let served = Served::start(SCALE, VALUE_CACHE_BYTES);
    let mut round = 0;
    bencher.bench_local(|| {
        round += 1;
        served.ask(kind, round)
    });
}
