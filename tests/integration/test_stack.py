"""The private servers: real ones, in a folder of their own."""

import pymysql
import pytest

from reconciler.stack.mariadb import Login, MariaDB


def test_a_database_user_reaches_its_own_database_only(mariadb: MariaDB, database: Login) -> None:
    mariadb.create_database("not_theirs")
    connection = pymysql.connect(
        unix_socket=str(database.socket), user=database.user, password=database.password
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SHOW DATABASES")
        visible = {row[0] for row in cursor.fetchall()}
    mariadb.drop_database("not_theirs")
    assert visible == {database.user, "information_schema"}


def test_the_administrator_needs_the_password(mariadb: MariaDB) -> None:
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        pymysql.connect(unix_socket=str(mariadb.admin.socket), user="root")


def test_data_survives_a_crash_of_the_server(mariadb: MariaDB, database: Login) -> None:
    mariadb.load_sql(database.user, "CREATE TABLE kept (id INT PRIMARY KEY); INSERT INTO kept VALUES (7)")
    mariadb.kill()
    mariadb.start()
    with mariadb.connect(database.user) as cursor:
        cursor.execute("SELECT id FROM kept")
        assert cursor.fetchall() == ((7,),)
