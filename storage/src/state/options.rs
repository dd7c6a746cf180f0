//! How RocksDB is set up, and why so.
use model::error::Fault;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DBCompressionType, LogLevel, LruCacheOptions,
    WriteBufferManager,
};

/// Whole prefixes of up to this many bytes are in the bloom filters: a tag and one id.
pub(super) const PREFIX_BYTES: usize = 9;

/// Bounds of the state's memory and files.
#[derive(Clone, Debug)]
pub struct Options {
    /// Cache of blocks, indexes and filters.
    pub block_cache_bytes: usize,
    /// Cache of single values in front of that; zero: none.
    pub value_cache_bytes: usize,
    /// Size of one of the two write buffers.
    pub write_buffer_bytes: usize,
    /// About how large the files of a snapshot become, at least.
    pub snapshot_file_bytes: u64,
    /// How many files RocksDB keeps open.
    pub open_files_max: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            block_cache_bytes: 64 << 20,
            value_cache_bytes: 64 << 20,
            write_buffer_bytes: 32 << 20,
            snapshot_file_bytes: 64 << 20,
            open_files_max: 512,
        }
    }
}

/// A snapshot has at most about so many files: when it replaces data they all begin in level 0,
/// where too many of them would stop the writes.
pub(super) const SNAPSHOT_FILES: u64 = 12;
const LEVEL_0_SLOWDOWN_FILES: i32 = 32;
const LEVEL_0_STOP_FILES: i32 = 48;
const WRITE_BUFFERS: i32 = 2;
/// Of a write buffer, so much is a filter of the keys in it: about nine bits for each prefix and key.
const WRITE_BUFFER_FILTER: f64 = 0.02;
/// RocksDB's own choice are shards of half a MiB, in which few blocks of a filter find a place.
const CACHE_SHARD_BITS: i32 = 3;

pub(super) fn of_database(options: &Options) -> rocksdb::Options {
    let mut rocks = rocksdb::Options::default();
    rocks.set_paranoid_checks(true);
    let buffers = usize::try_from(WRITE_BUFFERS).expect("a small constant") + 1;
    rocks.set_write_buffer_manager(&WriteBufferManager::new_write_buffer_manager(
        options.write_buffer_bytes.saturating_mul(buffers),
        false,
    ));
    rocks.set_max_open_files(i32::try_from(options.open_files_max).unwrap_or(i32::MAX));
    rocks.set_max_background_jobs(2);
    // Written back little by little, so that a sync finds little left to do.
    rocks.set_bytes_per_sync(1 << 20);
    rocks.set_keep_log_file_num(2);
    rocks.set_max_log_file_size(1 << 20);
    rocks.set_log_level(LogLevel::Warn);
    rocks.set_stats_dump_period_sec(0);
    rocks.set_stats_persist_period_sec(0);
    rocks
}

/// Options of the column family that holds the state.
pub(super) fn of_state(options: &Options) -> Result<rocksdb::Options, Fault> {
    let mut cache = LruCacheOptions::default();
    cache.set_capacity(options.block_cache_bytes);
    cache.set_num_shard_bits(CACHE_SHARD_BITS);
    let cache = Cache::new_lru_cache_opts(&cache);
    let mut rocks = with_prefix(rocksdb::Options::default())?;
    rocks.set_block_based_table_factory(&tables(Some(&cache)));
    rocks.set_write_buffer_size(options.write_buffer_bytes);
    rocks.set_max_write_buffer_number(WRITE_BUFFERS);
    // Most of what a write asks the database for is not there.
    rocks.set_memtable_prefix_bloom_ratio(WRITE_BUFFER_FILTER);
    rocks.set_memtable_whole_key_filtering(true);
    rocks.set_level_compaction_dynamic_level_bytes(true);
    rocks.set_level_zero_slowdown_writes_trigger(LEVEL_0_SLOWDOWN_FILES);
    rocks.set_level_zero_stop_writes_trigger(LEVEL_0_STOP_FILES);
    rocks.set_compression_type(DBCompressionType::Lz4);
    rocks.set_bottommost_compression_type(DBCompressionType::Zstd);
    Ok(rocks)
}

/// Options of the files of a snapshot: the state's tables, in the quick compression.
pub(super) fn of_snapshot_files() -> Result<rocksdb::Options, Fault> {
    let mut rocks = with_prefix(rocksdb::Options::default())?;
    rocks.set_block_based_table_factory(&tables(None));
    rocks.set_compression_type(DBCompressionType::Lz4);
    Ok(rocks)
}

/// The binding has no call for the capped extractor, which unlike the fixed one is defined for keys
/// that are shorter.
fn with_prefix(mut rocks: rocksdb::Options) -> Result<rocksdb::Options, Fault> {
    rocks
        .get_options_from_string(format!("prefix_extractor=capped:{PREFIX_BYTES}"))
        .map_err(|error| Fault(format!("RocksDB does not take its options: {error}")))
}

fn tables(cache: Option<&Cache>) -> BlockBasedOptions {
    let mut tables = BlockBasedOptions::default();
    if let Some(cache) = cache {
        tables.set_block_cache(cache);
        tables.set_cache_index_and_filter_blocks(true);
        tables.set_cache_index_and_filter_blocks_with_high_priority(true);
        tables.set_pin_l0_filter_and_index_blocks_in_cache(true);
    }
    tables.set_format_version(6);
    // Whole indexes and filters of large files would push each other out of a small cache, and each
    // read would load them anew: they are cut into blocks like the data.
    tables.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    tables.set_partition_filters(true);
    tables.set_pin_top_level_index_and_filter(true);
    tables.set_bloom_filter(10.0, false);
    tables.set_whole_key_filtering(true);
    tables
}
