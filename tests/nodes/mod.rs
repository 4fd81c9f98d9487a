//! Several nodes of the authorization server over one `PostgreSQL`, behind nginx: what is done at one holds at all, and
//! nobody notices when one dies, is replaced, or when the database moves to its standby.

mod cluster;
mod everywhere;
mod failover;
mod load;
mod loss;
mod postgres;
mod upgrade;
