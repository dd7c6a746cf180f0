//! How much room this disk has.
