//! A table of a service, with each column named once: what it is called, and what a row has in it.
//!
//! Whole batches are written with one statement each, by arrays: `insert … select unnest($1), unnest($2), …`, and
//! `update … from (select unnest($1) as …)`. That form is the quick one (ADR 23). The texts are made once, of names that are
//! in the program, so that a connection prepares them once. No column vectors are made: values go from the rows to what
//! is sent.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use openorder_types::Fault;
use sqlx::{
    Arguments, AssertSqlSafe, Encode, PgConnection, Postgres, Type, TypeInfo,
    postgres::{PgArguments, PgBindIterExt, PgHasArrayType, PgTypeInfo},
    query::Query,
};

/// A query of text that lives as long as the program, with its values.
type Statement = Query<'static, Postgres, PgArguments>;

/// Adds the values that a column has in these rows, as one array.
type Bind<T> = Box<dyn Fn(&mut PgArguments, &[&T]) -> Result<(), Fault> + Send + Sync>;

struct Column<T> {
    name: &'static str,
    /// How it is written; `{}` is the array's element.
    written: &'static str,
    /// How it is read.
    read: &'static str,
    /// Type of the parameter, as SQL calls it.
    sql_type: String,
    /// Whether the parameter is one value for all rows, which the caller binds, and no array.
    is_given: bool,
    /// Whether updates write it.
    is_changing: bool,
    bind: Bind<T>,
}

/// The columns of a table whose rows are made of `T`.
///
/// ```ignore
/// static WALLET: LazyLock<Table<Wallet>> = LazyLock::new(|| {
///     Table::new("wallet", "user_id")
///         .text("user_id", |wallet| wallet.user_id.as_str())
///         .column("currency", |wallet| wallet.balance.currency())
///         .changing()
///         .column("balance_minor_units", |wallet| wallet.balance.minor_units())
/// });
///
/// WALLET.insert(connection, &new).await?;
/// WALLET.update(connection, &changed).await?;
/// WALLET.select("from wallet where user_id = $1").bind(user).fetch_optional(connection).await?;
/// ```
pub struct Table<T: 'static> {
    name: &'static str,
    key: &'static str,
    columns: Vec<Column<T>>,
    are_changing: bool,
    insert: OnceLock<Arc<str>>,
    update: OnceLock<Arc<str>>,
    selects: RwLock<HashMap<&'static str, Arc<str>>>,
}

impl<T: 'static> Table<T> {
    /// A table without columns. Updates find a row by the column `key`, which never changes.
    #[must_use]
    pub fn new(name: &'static str, key: &'static str) -> Self {
        Self {
            name,
            key,
            columns: Vec::new(),
            are_changing: false,
            insert: OnceLock::new(),
            update: OnceLock::new(),
            selects: RwLock::default(),
        }
    }

    /// The columns that follow are written by updates too; those before it by inserts alone.
    #[must_use]
    pub fn changing(mut self) -> Self {
        self.are_changing = true;
        self
    }

    /// A column of values that a row gives away.
    #[must_use]
    pub fn column<V>(self, name: &'static str, value: impl Fn(&T) -> V + Send + Sync + 'static) -> Self
    where
        V: for<'q> Encode<'q, Postgres> + Type<Postgres> + PgHasArrayType,
    {
        let bind = move |arguments: &mut PgArguments, rows: &[&T]| {
            arguments.add(rows.iter().map(|row| value(row)).bind_iter()).map_err(sqlx::Error::Encode)?;
            Ok(())
        };
        self.push(name, V::array_type_info(), Box::new(bind))
    }

    /// A column of texts that a row lends.
    #[must_use]
    pub fn text(self, name: &'static str, value: impl Fn(&T) -> &str + Send + Sync + 'static) -> Self {
        let bind = move |arguments: &mut PgArguments, rows: &[&T]| {
            arguments.add(rows.iter().map(|row| value(row)).bind_iter()).map_err(sqlx::Error::Encode)?;
            Ok(())
        };
        self.push(name, <&str>::array_type_info(), Box::new(bind))
    }

    /// A column of texts that are composed, which may fail.
    #[must_use]
    pub fn composed(
        self,
        name: &'static str,
        value: impl Fn(&T) -> Result<String, Fault> + Send + Sync + 'static,
    ) -> Self {
        let bind = move |arguments: &mut PgArguments, rows: &[&T]| {
            let texts: Vec<String> = rows.iter().map(|row| value(row)).collect::<Result<_, _>>()?;
            arguments.add(texts).map_err(sqlx::Error::Encode)?;
            Ok(())
        };
        self.push(name, <&str>::array_type_info(), Box::new(bind))
    }

    /// A column that has one value in all rows of a statement. The caller binds it to [`Self::insert_query`] or
    /// [`Self::update_query`]; where there are several, in the order of the columns.
    #[must_use]
    pub fn given<V: Type<Postgres>>(mut self, name: &'static str) -> Self {
        self = self.push(name, V::type_info(), Box::new(|_, _| Ok(())));
        if let Some(column) = self.columns.last_mut() {
            column.is_given = true;
        }
        self
    }

    /// How the last column is written: an expression of SQL, in which `{}` is its value.
    #[must_use]
    pub fn written_as(mut self, expression: &'static str) -> Self {
        if let Some(column) = self.columns.last_mut() {
            column.written = expression;
        }
        self
    }

    /// How the last column is read: an expression of SQL that ends with `as` and the column's name.
    #[must_use]
    pub fn read_as(mut self, expression: &'static str) -> Self {
        if let Some(column) = self.columns.last_mut() {
            column.read = expression;
        }
        self
    }

    /// Makes the inserting statement a part of another one, such as `with made as (…) …`. Call it after the last
    /// column.
    #[must_use]
    pub fn inserted_by(self, statement: impl FnOnce(&Self, &str) -> String) -> Self {
        let text = statement(&self, &self.insert_text());
        Self { insert: OnceLock::from(Arc::from(text)), ..self }
    }

    fn push(mut self, name: &'static str, sql_type: PgTypeInfo, bind: Bind<T>) -> Self {
        let (sql_type, is_changing) = (sql_type.name().to_lowercase(), self.are_changing);
        self.columns.push(Column { name, written: "{}", read: name, sql_type, is_given: false, is_changing, bind });
        self
    }

    /// Writes new rows, which must not exist.
    ///
    /// # Errors
    /// [`Fault`] of the database; retryable when another transaction made one of the rows first.
    pub async fn insert(&self, connection: &mut PgConnection, rows: &[&T]) -> Result<(), Fault> {
        if rows.is_empty() {
            return Ok(());
        }
        self.insert_query(rows)?.execute(connection).await?;
        Ok(())
    }

    /// Writes what changed of rows that are locked.
    ///
    /// # Errors
    /// [`Fault`] of the database.
    pub async fn update(&self, connection: &mut PgConnection, rows: &[&T]) -> Result<(), Fault> {
        if rows.is_empty() {
            return Ok(());
        }
        self.update_query(rows)?.execute(connection).await?;
        Ok(())
    }

    /// The inserting statement with the values of these rows.
    ///
    /// # Errors
    /// [`Fault`] of a value that cannot be composed.
    pub fn insert_query(&self, rows: &[&T]) -> Result<Statement, Fault> {
        let text = self.insert.get_or_init(|| self.insert_text().into());
        self.statement(text, |_| true, rows)
    }

    /// The updating statement with the values of these rows.
    ///
    /// # Errors
    /// [`Fault`] of a value that cannot be composed.
    pub fn update_query(&self, rows: &[&T]) -> Result<Statement, Fault> {
        let text = self.update.get_or_init(|| self.update_text().into());
        self.statement(text, |column| self.is_updated_by(column), rows)
    }

    /// A query for all columns, each under its name: `select`, the columns, and `rest`, which begins with `from`, or with
    /// a comma and more columns.
    pub fn select(&self, rest: &'static str) -> Statement {
        let known = self.selects.read().unwrap_or_else(PoisonError::into_inner).get(rest).cloned();
        let text = known.unwrap_or_else(|| {
            let text: Arc<str> = format!("select {} {rest}", self.list(|column| column.read.to_owned())).into();
            self.selects.write().unwrap_or_else(PoisonError::into_inner).entry(rest).or_insert(text).clone()
        });
        sqlx::query(AssertSqlSafe(text))
    }

    /// Sets each changing column to the one of this name in another row: `a = other.a, b = other.b`.
    #[must_use]
    pub fn assignments(&self, other: &str) -> String {
        let changing = self.columns.iter().filter(|column| column.is_changing);
        changing.map(|column| format!("{0} = {other}.{0}", column.name)).collect::<Vec<_>>().join(", ")
    }

    fn statement(
        &self,
        text: &Arc<str>,
        is_written: impl Fn(&Column<T>) -> bool,
        rows: &[&T],
    ) -> Result<Statement, Fault> {
        let mut arguments = PgArguments::default();
        arguments.reserve(self.columns.len(), 0);
        for column in self.columns.iter().filter(|column| is_written(column)) {
            (column.bind)(&mut arguments, rows)?;
        }
        Ok(sqlx::query_with(AssertSqlSafe(Arc::clone(text)), arguments))
    }

    fn is_updated_by(&self, column: &Column<T>) -> bool {
        column.is_changing || column.name == self.key
    }

    fn insert_text(&self) -> String {
        let values = self.values(|_| true).into_iter().map(|(_, value)| value).collect::<Vec<_>>().join(", ");
        format!("insert into {} ({}) select {values}", self.name, self.list(|column| column.name.to_owned()))
    }

    fn update_text(&self) -> String {
        let values = self.values(|column| self.is_updated_by(column)).into_iter();
        let values = values.map(|(name, value)| format!("{value} as {name}")).collect::<Vec<_>>().join(", ");
        let (name, key) = (self.name, self.key);
        format!("update {name} set {} from (select {values}) as n where {name}.{key} = n.{key}", self.assignments("n"))
    }

    /// The written columns, each with its expression. Parameters are numbered as they are bound: first the arrays.
    fn values(&self, is_written: impl Fn(&Column<T>) -> bool) -> Vec<(&'static str, String)> {
        let written: Vec<&Column<T>> = self.columns.iter().filter(|column| is_written(column)).collect();
        let (mut array, mut given) = (0, written.iter().filter(|column| !column.is_given).count());
        let value = |Column { name, written, sql_type, is_given, .. }: &&Column<T>| {
            let place = if *is_given { &mut given } else { &mut array };
            *place += 1;
            let parameter = format!("${place}::{sql_type}");
            let element = if *is_given { parameter } else { format!("unnest({parameter})") };
            (*name, written.replace("{}", &element))
        };
        written.iter().map(value).collect()
    }

    fn list(&self, text: impl Fn(&Column<T>) -> String) -> String {
        self.columns.iter().map(text).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use openorder_types::Timestamp;
    use sqlx::Execute;
    use uuid::Uuid;

    use super::*;

    struct Item {
        id: Uuid,
        name: String,
        tags: Vec<i16>,
    }

    fn items() -> Table<Item> {
        Table::new("item", "id")
            .column("id", |item: &Item| item.id)
            .text("name", |item| &item.name)
            .changing()
            .composed("tags", |item| match item.tags.as_slice() {
                [] => Err(Fault::permanent("no tags")),
                tags => Ok(tags.iter().map(i16::to_string).collect::<Vec<_>>().join(",")),
            })
            .written_as("string_to_array({}, ',')::smallint[]")
            .given::<Timestamp>("update_time")
            .column("count", |item| i64::try_from(item.tags.len()).ok())
    }

    fn item(tags: &[i16]) -> Item {
        Item { id: Uuid::nil(), name: "a".to_owned(), tags: tags.to_vec() }
    }

    #[test]
    fn the_texts_name_each_column_with_its_type() {
        let (table, item) = (items(), item(&[1]));
        assert_eq!(
            table.insert_query(&[&item]).unwrap().sql().as_str(),
            "insert into item (id, name, tags, update_time, count) select unnest($1::uuid[]), unnest($2::text[]), \
             string_to_array(unnest($3::text[]), ',')::smallint[], $5::timestamptz, unnest($4::int8[])"
        );
        assert_eq!(
            table.update_query(&[&item]).unwrap().sql().as_str(),
            "update item set tags = n.tags, update_time = n.update_time, count = n.count \
             from (select unnest($1::uuid[]) as id, string_to_array(unnest($2::text[]), ',')::smallint[] as tags, \
             $4::timestamptz as update_time, unnest($3::int8[]) as count) as n where item.id = n.id"
        );
        for _ in 0..2 {
            let select = table.select("from item where id = $1");
            assert_eq!(select.sql().as_str(), "select id, name, tags, update_time, count from item where id = $1");
        }
    }

    #[test]
    fn an_insert_may_be_part_of_another_statement() {
        let table = items().inserted_by(|table, insert| {
            format!("{insert} on conflict (id) do update set {}", table.assignments("excluded"))
        });
        let query = table.insert_query(&[]).unwrap();
        let text = query.sql();
        assert!(text.as_str().starts_with("insert into item (id, name, tags, update_time, count) select "));
        assert!(text.as_str().ends_with(
            " on conflict (id) do update set tags = excluded.tags, update_time = excluded.update_time, \
             count = excluded.count"
        ));
    }

    #[test]
    fn a_value_that_cannot_be_composed_fails_the_statement() {
        assert_eq!(items().insert_query(&[&item(&[])]).err(), Some(Fault::permanent("no tags")));
    }
}
