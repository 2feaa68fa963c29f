//! The rows of a query, stored flat, and typed access to their columns.

use crate::error::Error;
use crate::value::{FromValue, Value};

/// All rows of one query.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    pub(crate) columns: Vec<String>,
    /// Row after row, each as wide as `columns`.
    pub(crate) values: Vec<Value>,
}

impl Rows {
    /// Rows from their columns' names and their values, row after row.
    ///
    /// Values that do not fill a last row are left out.
    pub fn new(columns: Vec<String>, mut values: Vec<Value>) -> Self {
        let width = columns.len().max(1);
        values.truncate(values.len() / width * width);
        Self { columns, values }
    }

    /// The columns' names.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.values.len() / self.columns.len().max(1)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The rows, in the order in which the engine gave them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        let width = self.columns.len().max(1);
        self.values.chunks_exact(width).map(|values| Row {
            columns: &self.columns,
            values,
        })
    }

    /// The first row.
    pub fn first(&self) -> Option<Row<'_>> {
        self.iter().next()
    }
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    columns: &'a [String],
    values: &'a [Value],
}

impl<'a> Row<'a> {
    /// The value of column `index`, from zero.
    ///
    /// # Errors
    /// [`Error::NoColumn`] past the last column, [`Error::Type`] where the value is not of type `T`; a column that
    /// may be NULL is read as `Option<T>`.
    pub fn get<T: FromValue<'a>>(&self, index: usize) -> Result<T, Error> {
        let value = self.values.get(index).ok_or(Error::NoColumn {
            index,
            width: self.values.len(),
        })?;
        T::from_value(value).ok_or_else(|| Error::Type {
            index,
            column: self.columns.get(index).cloned().unwrap_or_default(),
            wanted: T::WANTED,
            found: value.type_name(),
        })
    }

    /// All values of the row.
    pub fn values(&self) -> &'a [Value] {
        self.values
    }
}
