//! The tables, and how a file of an earlier version gets them.

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// Marks a file as one of this program.
const APPLICATION_ID: i32 = 0x636c_7372;

/// What each version adds to the one before. The number of the version is in `user_version`.
///
/// A migration that was released is never changed.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE settings (
        name TEXT PRIMARY KEY,
        value BLOB NOT NULL
    ) STRICT;
    CREATE TABLE rooms (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        epoch TEXT NOT NULL,
        last_offset INTEGER NOT NULL DEFAULT 0,
        first_offset INTEGER NOT NULL DEFAULT 1,
        closed INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE messages (
        room INTEGER NOT NULL REFERENCES rooms (id),
        offset INTEGER NOT NULL,
        client_id TEXT NOT NULL,
        sender TEXT NOT NULL,
        sender_name TEXT NOT NULL,
        sender_role TEXT NOT NULL,
        kind TEXT NOT NULL,
        recipient TEXT,
        recipient_name TEXT,
        timestamp INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (room, offset)
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX messages_by_client_id ON messages (room, sender, client_id);
    CREATE TABLE restrictions (
        room INTEGER NOT NULL REFERENCES rooms (id),
        participant TEXT NOT NULL,
        folded_name TEXT NOT NULL,
        kind TEXT NOT NULL,
        PRIMARY KEY (room, participant, kind)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX restrictions_by_name ON restrictions (room, folded_name);
"];

/// Sets how the database writes, and brings its tables up to date.
pub(super) fn prepare(mut connection: Connection) -> Result<Connection, StoreError> {
    // Fails for a file that is no database, before anything is written.
    let _: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // A commit returns once the log is on the disk.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    migrate(&mut connection, MIGRATIONS)?;
    Ok(connection)
}

/// Runs the migrations that the database lacks, all of them or none.
fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let number = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && (application != 0 || version != 0 || tables != 0) {
        return Err(StoreError::Incompatible("the file is a database of another program".into()));
    }
    let Some(missing) = usize::try_from(version).ok().and_then(|version| migrations.get(version..)) else {
        return Err(StoreError::Incompatible(format!(
            "the database has version {version}, and this program knows versions up to {}",
            migrations.len()
        )));
    };
    for migration in missing {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", migrations.len())?;
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(connection: &Connection) -> i32 {
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a number")
    }

    #[test]
    fn migrations_run_once_and_keep_what_is_stored() {
        let mut db = Connection::open_in_memory().expect("open");
        migrate(&mut db, &["CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (1)"]).expect("version 1");
        let both = ["not run again", "ALTER TABLE a ADD COLUMN y INTEGER DEFAULT 2"];
        migrate(&mut db, &both).expect("version 2");
        migrate(&mut db, &both).expect("nothing to do");
        let row: (i64, i64) =
            db.query_row("SELECT x, y FROM a", [], |row| Ok((row.get(0)?, row.get(1)?))).expect("one row");
        assert_eq!((row, version(&db)), ((1, 2), 2));
    }

    #[test]
    fn a_migration_that_fails_changes_nothing() {
        let mut db = Connection::open_in_memory().expect("open");
        migrate(&mut db, &["CREATE TABLE a (x INTEGER)"]).expect("version 1");
        let result = migrate(&mut db, &["", "CREATE TABLE b (x INTEGER)", "no SQL"]);
        assert!(matches!(result, Err(StoreError::Other(_))), "{result:?}");
        assert_eq!(version(&db), 1);
        assert!(!db.table_exists(None, "b").expect("no error"));
    }

    #[test]
    fn a_newer_version_and_another_program_are_refused() {
        let mut newer = Connection::open_in_memory().expect("open");
        migrate(&mut newer, &["", ""]).expect("version 2");
        let error = migrate(&mut newer, &[""]).expect_err("refused").to_string();
        assert_eq!(error, "the database has version 2, and this program knows versions up to 1");
        let mut other = Connection::open_in_memory().expect("open");
        other.execute_batch("CREATE TABLE rooms (x INTEGER)").expect("created");
        assert!(matches!(migrate(&mut other, MIGRATIONS), Err(StoreError::Incompatible(_))));
    }

    #[test]
    fn all_migrations_make_a_database_that_syncs_each_commit() {
        let directory = tempfile::tempdir().expect("a directory");
        let db = Connection::open(directory.path().join("a.sqlite")).expect("open");
        let db = prepare(prepare(db).expect("created")).expect("opened again");
        let mode: String = db.pragma_query_value(None, "journal_mode", |row| row.get(0)).expect("text");
        let synchronous: i32 =
            db.pragma_query_value(None, "synchronous", |row| row.get(0)).expect("a number");
        assert_eq!((mode.as_str(), synchronous), ("wal", 2));
    }
}
