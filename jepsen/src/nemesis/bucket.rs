//! An S3 that is down, hangs, is slow, says no, or breaks off. Only uploads and videos may suffer.
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::atlas::{BUCKET, Claim};
use super::{Class, Fault, Nemesis, Refusal, Scene};
use crate::dice::Dice;
use crate::world::World;
use crate::world::abilities::Abilities;
use crate::world::s3_proxy::Mood;

struct Bucket(&'static str, fn(&mut Dice) -> Mood);

struct Moody {
    mood: Mood,
    spoilt_before: u64,
    _claim: Claim,
}

#[async_trait]
impl Nemesis for Bucket {
    fn name(&self) -> &'static str {
        self.0
    }

    fn class(&self) -> Class {
        Class::S3
    }

    fn length_ms(&self) -> (u64, u64) {
        (3_000, 10_000)
    }

    fn is_possible(&self, _: &Abilities, _: usize) -> Result<(), String> {
        Ok(())
    }

    async fn install(&self, scene: &Scene, dice: &mut Dice) -> Result<Box<dyn Fault>, Refusal> {
        let claim = scene.atlas.claim(&[BUCKET])?;
        let mood = (self.1)(dice);
        let proxy = &scene.world.s3.proxy;
        let spoilt_before = proxy.spoilt();
        proxy.set(mood);
        Ok(Box::new(Moody {
            mood,
            spoilt_before,
            _claim: claim,
        }))
    }
}

#[async_trait]
impl Fault for Moody {
    fn targets(&self) -> Vec<String> {
        vec!["s3".into()]
    }

    fn detail(&self) -> String {
        match self.mood {
            Mood::Up => "as it should be".into(),
            Mood::Down => "connections refused".into(),
            Mood::Hang => "connections accepted, nothing answered".into(),
            Mood::Slow(delay) => format!("{delay:?} more for each piece"),
            Mood::Busy => "503 SlowDown".into(),
            Mood::CutAnswers(bytes) => format!("answers break off after {bytes} bytes"),
            Mood::CutRequests(bytes) => format!("requests break off after {bytes} bytes"),
        }
    }

    async fn bite(&mut self, scene: &Scene) -> Option<String> {
        let spoilt = || scene.world.s3.proxy.spoilt() - self.spoilt_before;
        if spoilt() == 0 || self.mood == Mood::Down {
            // Perhaps nobody uploaded meanwhile: then it is felt by us alone.
            let felt = tokio::time::timeout(Duration::from_millis(300), knock(&scene.world)).await;
            return match felt {
                Ok(Ok(answered)) if spoilt() == 0 && answered > 0 => None,
                Ok(_) => Some(format!("{} connections spoilt, ours too", spoilt())),
                Err(_) => Some("does not answer".into()),
            };
        }
        Some(format!("{} connections spoilt", spoilt()))
    }

    async fn heal(&mut self, scene: &Scene) -> Result<String> {
        scene.world.s3.proxy.set(Mood::Up);
        Ok("as it should be".into())
    }
}

/// One large request of our own; how many bytes of an answer came.
async fn knock(world: &World) -> std::io::Result<usize> {
    let mut stream = TcpStream::connect(world.s3.address).await?;
    let head = "PUT /yin/knock HTTP/1.1\r\nHost: s3\r\nContent-Length: 65536\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&[0; 65_536]).await?;
    let mut answer = [0; 4_096];
    stream.read(&mut answer).await
}

pub(super) fn all() -> Vec<Arc<dyn Nemesis>> {
    let all = [
        Bucket("s3-down", |_| Mood::Down),
        Bucket("s3-hang", |_| Mood::Hang),
        Bucket("s3-slow", |dice| {
            Mood::Slow(Duration::from_millis(dice.between(50, 500)))
        }),
        Bucket("s3-busy", |_| Mood::Busy),
        Bucket("s3-cut-answers", |dice| {
            Mood::CutAnswers(dice.between(1, 8_000))
        }),
        Bucket("s3-cut-uploads", |dice| {
            Mood::CutRequests(dice.between(100, 30_000))
        }),
    ];
    all.into_iter()
        .map(|one| Arc::new(one) as Arc<dyn Nemesis>)
        .collect()
}
