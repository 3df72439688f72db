//! The curves of a run as Parquet: a row an epoch, for whoever plots them.

use std::sync::Arc;

use parquet::data_type::{BoolType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::{EpochRecord, Record, Result};

type Value = fn(&EpochRecord) -> Option<f64>;

/// The columns behind `epoch` and `ann_warm_up`; null where an epoch has no such value.
const COLUMNS: [(&str, Value); 8] = [
    ("learning_rate", |epoch| Some(epoch.learning_rate)),
    ("train_loss", |epoch| Some(epoch.train_loss)),
    ("train_accuracy", |epoch| Some(epoch.train_accuracy)),
    ("test_loss", |epoch| Some(epoch.test_loss)),
    ("test_accuracy", |epoch| Some(epoch.test_accuracy)),
    ("validation_loss", |epoch| epoch.validation_loss),
    ("validation_accuracy", |epoch| epoch.validation_accuracy),
    ("firing_rate", |epoch| Some(epoch.firing_rate)),
];

/// A record's epochs as the bytes of a Parquet file. The last columns are the firing rates of its LIF layers,
/// `firing_rate_layer_N` by the layer's index.
///
/// # Errors
/// [`crate::HarnessError::Curves`].
pub(crate) fn parquet(record: &Record) -> Result<Vec<u8>> {
    let epochs = &record.epochs;
    let mut columns: Vec<(String, Vec<Option<f64>>)> = COLUMNS
        .iter()
        .map(|(name, value)| ((*name).to_owned(), epochs.iter().map(value).collect()))
        .collect();
    for (place, layer) in record.layer_spikes.iter().enumerate() {
        let rate = |epoch: &EpochRecord| epoch.layer_firing_rates.as_ref()?.get(place).copied();
        columns.push((format!("firing_rate_layer_{}", layer.layer), epochs.iter().map(rate).collect()));
    }
    let doubles: String = columns.iter().map(|(name, _)| format!("optional double {name};")).collect();
    let schema =
        format!("message curves {{ required int64 epoch; required boolean ann_warm_up; {doubles} }}");
    let mut bytes = Vec::new();
    let properties = Arc::new(WriterProperties::builder().build());
    let mut file = SerializedFileWriter::new(&mut bytes, Arc::new(parse_message_type(&schema)?), properties)?;
    let mut rows = file.next_row_group()?;
    if let Some(mut column) = rows.next_column()? {
        let numbers: Vec<i64> = epochs.iter().map(|epoch| epoch.epoch as i64).collect();
        column.typed::<Int64Type>().write_batch(&numbers, None, None)?;
        column.close()?;
    }
    if let Some(mut column) = rows.next_column()? {
        let warm_up: Vec<bool> = epochs.iter().map(|epoch| epoch.ann_warm_up).collect();
        column.typed::<BoolType>().write_batch(&warm_up, None, None)?;
        column.close()?;
    }
    for (_, values) in &columns {
        let Some(mut column) = rows.next_column()? else { break };
        let there: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
        let values: Vec<f64> = values.iter().copied().flatten().collect();
        column.typed::<DoubleType>().write_batch(&values, Some(&there), None)?;
        column.close()?;
    }
    rows.close()?;
    file.close()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    use super::*;

    #[test]
    fn curves_are_read_back_as_they_are_in_the_record() {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../results/table2/cpu/records/03f848e27e958a73.json");
        let record: Record = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let bytes = parquet(&record).unwrap();
        assert_eq!(bytes, parquet(&record).unwrap(), "the same record is the same bytes");
        let file = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
        let rows: Vec<_> = file.get_row_iter(None).unwrap().map(std::result::Result::unwrap).collect();
        assert_eq!(rows.len(), record.epochs.len());
        for (row, epoch) in rows.iter().zip(&record.epochs) {
            assert_eq!(row.get_long(0).unwrap(), epoch.epoch as i64);
            assert_eq!(row.get_bool(1).unwrap(), epoch.ann_warm_up);
            assert_eq!(row.get_double(6).unwrap(), epoch.test_accuracy);
            assert_eq!(row.get_double(9).unwrap(), epoch.firing_rate);
            assert!(row.get_double(7).is_err(), "there are no validation samples");
            assert!(row.get_double(10).is_err(), "a record of schema 1 has no rates by layer");
        }
        assert_eq!(rows[0].len(), 10 + record.layer_spikes.len());
    }
}
