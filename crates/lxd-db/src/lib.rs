//! The node database and the cluster database: schemas, one file of queries per noun, transactions.
