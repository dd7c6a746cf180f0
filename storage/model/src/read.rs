//! Typed reading: keys in, records out, for every view.
use crate::error::Fault;
use crate::key::{Key, Part};
use crate::record::Record;
use crate::view::View;

/// How many keys are handed to the engine in one go, so that a list of everything stays flat.
const READ_MANY_MAX: usize = 1024;

/// What every [`View`] can do with typed keys.
pub trait Read: View {
    /// The record under `key`.
    ///
    /// # Errors
    /// [`Fault`] when it could not be read or understood.
    fn read<K: Key>(&self, key: &K) -> Result<Option<K::Value>, Fault> {
        self.get(&key.encode())?
            .map(|bytes| decode::<K>(&bytes))
            .transpose()
    }

    /// As [`Read::read`], by [`View::get_once`].
    ///
    /// # Errors
    /// As [`Read::read`].
    fn read_once<K: Key>(&self, key: &K) -> Result<Option<K::Value>, Fault> {
        self.get_once(&key.encode())?
            .map(|bytes| decode::<K>(&bytes))
            .transpose()
    }

    /// Is there something under `key`?
    ///
    /// # Errors
    /// [`Fault`] when it could not be read.
    fn has<K: Key>(&self, key: &K) -> Result<bool, Fault> {
        Ok(self.get(&key.encode())?.is_some())
    }

    /// The records under `keys`, in their order.
    ///
    /// # Errors
    /// [`Fault`] when one could not be read or understood.
    fn read_many<K: Key>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<K::Value>>, Fault> {
        let mut questions = Questions::default();
        let all = questions.ask(keys);
        questions.answers(self)?.take(all)
    }

    /// The keys of one kind that begin with `parts` (see [`Key::prefix`]), with their records, in
    /// order, strictly after the key `after`.
    fn list<K: Key>(
        &self,
        parts: impl Part,
        after: Option<&K>,
    ) -> impl Iterator<Item = Result<(K, K::Value), Fault>> {
        let from = after.map_or_else(Vec::new, |key| {
            let mut from = key.encode();
            from.push(0); // the smallest key that is greater
            from
        });
        self.list_from(parts, from)
    }

    /// As [`Read::list`], from the encoded key `from` on, itself included.
    fn list_from<K: Key>(
        &self,
        parts: impl Part,
        from: Vec<u8>,
    ) -> impl Iterator<Item = Result<(K, K::Value), Fault>> {
        self.scan(&K::prefix(parts), &from).map(|pair| {
            let (key, value) = pair?;
            Ok((K::decode(&key)?, decode::<K>(&value)?))
        })
    }
}

impl<V: View + ?Sized> Read for V {}

/// Reads of several kinds, put together so that an engine meets them in one go.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    keys: Vec<Vec<u8>>,
}

/// The answers that belong to one call of [`Questions::ask`], to be taken in the order of asking.
#[derive(Debug)]
pub(crate) struct Asked<K> {
    count: usize,
    kind: std::marker::PhantomData<K>,
}

#[derive(Debug)]
pub(crate) struct Answers {
    values: std::vec::IntoIter<Option<Vec<u8>>>,
}

impl Questions {
    pub(crate) fn ask<K: Key>(&mut self, keys: impl IntoIterator<Item = K>) -> Asked<K> {
        let before = self.keys.len();
        self.keys.extend(keys.into_iter().map(|key| key.encode()));
        Asked {
            count: self.keys.len() - before,
            kind: std::marker::PhantomData,
        }
    }

    pub(crate) fn answers<V: View + ?Sized>(self, view: &V) -> Result<Answers, Fault> {
        let mut values = Vec::with_capacity(self.keys.len());
        for keys in self.keys.chunks(READ_MANY_MAX) {
            let read = view.get_many(keys)?;
            if read.len() != keys.len() {
                return Err(Fault(
                    "the view answered with another number of values".to_owned(),
                ));
            }
            values.extend(read);
        }
        Ok(Answers {
            values: values.into_iter(),
        })
    }
}

impl Answers {
    /// The records that were asked for, in their order.
    pub(crate) fn take<K: Key>(&mut self, asked: Asked<K>) -> Result<Vec<Option<K::Value>>, Fault> {
        self.values
            .by_ref()
            .take(asked.count)
            .map(|value| value.map(|bytes| decode::<K>(&bytes)).transpose())
            .collect()
    }
}

/// Says which kind of record was wrong, for whoever has to find it.
pub(crate) fn decode<K: Key>(bytes: &[u8]) -> Result<K::Value, Fault> {
    K::Value::decode(bytes).map_err(|Fault(why)| Fault(format!("{}: {why}", K::NAME)))
}
