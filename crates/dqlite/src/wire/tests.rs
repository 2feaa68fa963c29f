//! Values survive the wire; hostile bytes end in an error.

use proptest::prelude::*;

use super::decode::Reader;
use super::*;
use crate::value::Value;

fn value() -> impl Strategy<Value = Value> {
    let text = "[^\0]{0,40}";
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::Integer),
        any::<f64>()
            .prop_filter("NaN is not equal to itself", |f| !f.is_nan())
            .prop_map(Value::Float),
        text.prop_map(Value::Text),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Blob),
        any::<i64>().prop_map(Value::UnixTime),
        text.prop_map(Value::Iso8601),
        any::<bool>().prop_map(Value::Boolean),
    ]
}

/// The answer that a node would give with these rows.
fn encode_rows(columns: &[String], rows: &[Vec<Value>], more: bool) -> Vec<u8> {
    let mut out = (columns.len() as u64).to_le_bytes().to_vec();
    for column in columns {
        encode::put_value(&mut out, &Value::Text(column.clone())).unwrap();
    }
    for row in rows {
        let mut header = vec![0; (columns.len() * 4).div_ceil(64) * 8];
        for (index, value) in row.iter().enumerate() {
            header[index / 2] |= encode::tag_of(value) << (4 * (index % 2));
        }
        out.extend(header);
        for value in row {
            encode::put_value(&mut out, value).unwrap();
        }
    }
    out.extend([if more { 0xee } else { 0xff }; 8]);
    out
}

proptest! {
    #[test]
    fn a_value_survives_the_wire(value in value()) {
        let mut bytes = Vec::new();
        encode::put_value(&mut bytes, &value).unwrap();
        prop_assert_eq!(bytes.len() % 8, 0);
        prop_assert_eq!(Reader::new(&bytes).value(encode::tag_of(&value), 0).unwrap(), value);
    }

    #[test]
    fn rows_survive_the_wire(
        (width, rows) in (1_usize..40).prop_flat_map(|width| (
            Just(width),
            proptest::collection::vec(proptest::collection::vec(value(), width), 0..8),
        )),
        more in any::<bool>(),
    ) {
        let columns: Vec<String> = (0..width).map(|column| format!("column {column}")).collect();
        let bytes = encode_rows(&columns, &rows, more);
        let expected = RowBatch { columns, values: rows.concat(), more };
        prop_assert_eq!(decode_response(7, &bytes).unwrap(), Response::Rows(expected));
    }

    #[test]
    fn hostile_bytes_never_panic(kind in 0_u8..12, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode_response(kind, &bytes);
    }

    #[test]
    fn truncated_rows_are_an_error(rows in proptest::collection::vec(proptest::collection::vec(value(), 3), 1..4), cut in 1_usize..60) {
        let columns: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
        let bytes = encode_rows(&columns, &rows, false);
        // The closing word is all marker: one byte of it is enough to end the rows.
        let keep = bytes.len().saturating_sub(7 + cut);
        prop_assert!(matches!(decode_response(7, &bytes[..keep]), Err(DecodeError::Truncated(_))));
    }
}

#[test]
fn counts_that_lie_end_with_the_bytes() {
    let mut bytes = u64::MAX.to_le_bytes().to_vec();
    bytes.extend([b'a', 0, 0, 0, 0, 0, 0, 0]);
    for kind in [3, 7, 9] {
        assert!(decode_response(kind, &bytes).is_err(), "kind {kind}");
    }
    assert_eq!(decode_response(7, &[0; 8]), Err(DecodeError::NoColumns));
    assert_eq!(decode_response(200, &[]), Err(DecodeError::UnknownResponse(200)));
}

#[test]
fn a_blob_that_claims_the_address_space_is_truncated() {
    let mut bytes = u64::MAX.to_le_bytes().to_vec();
    bytes.extend([0; 16]);
    assert!(Reader::new(&bytes).value(tag::BLOB, 0).is_err());
}

#[test]
fn a_body_beyond_the_limit_is_refused_before_it_is_read() {
    assert!(matches!(
        decode_header([0xff, 0xff, 0xff, 0xff, 7, 0, 0, 0]),
        Err(DecodeError::TooLong(_))
    ));
    let header = decode_header([2, 0, 0, 0, 6, 0, 0, 0]).unwrap();
    assert_eq!(header, Header { length: 16, kind: 6 });
}

#[test]
fn requests_are_whole_words_with_their_length_in_front() {
    let parameters = [Value::Integer(7), Value::Text("seven77".into()), Value::Null];
    let mut bytes = Vec::new();
    Request::ExecSql {
        database: 3,
        sql: "INSERT INTO t VALUES (?, ?, ?)",
        parameters: &parameters,
    }
    .encode(&mut bytes)
    .unwrap();
    assert_eq!(bytes.len() % 8, 0);
    assert_eq!(
        u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize,
        bytes.len() / 8 - 1
    );
    assert_eq!(bytes[4], 8);
    assert_eq!(&bytes[8..16], &[3, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(&bytes[48..56], &[3, 1, 3, 5, 0, 0, 0, 0]);
}

#[test]
fn text_with_nul_and_too_many_parameters_are_refused_and_leave_nothing() {
    let mut bytes = vec![1; 8];
    assert!(Request::Dump { database: "a\0b" }.encode(&mut bytes).is_err());
    let parameters = vec![Value::Null; 256];
    assert!(
        Request::ExecSql {
            database: 0,
            sql: "",
            parameters: &parameters
        }
        .encode(&mut bytes)
        .is_err()
    );
    assert_eq!(bytes, [1; 8]);
}
