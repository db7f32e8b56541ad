#!/usr/bin/python3
"""Compares the accounts with the events of the source. Says what is wrong, and fails if anything is."""
import sys
from collections import Counter

import psycopg

from source import all_events

balances, payments = Counter(), Counter()
for event in all_events():
    balances[event["account"]] += event["amount"]
    payments[event["account"]] += 1

with psycopg.connect() as connection:
    accounts = connection.execute("SELECT name, balance, payments FROM account").fetchall()
    processed, = connection.execute("SELECT count(*) FROM onceq.processed_events WHERE consumer = 'payments'").fetchone()
    duplicates, = connection.execute("SELECT count(*) FROM onceq.processed_event_duplicates").fetchone()

wrong = {name for name, balance, number in accounts if (balance, number) != (balances[name], payments[name])}
wrong |= set(balances) - {name for name, _, _ in accounts}
print(f"{processed} events processed, {duplicates} of them twice; {len(accounts)} accounts, {len(wrong)} wrong")
sys.exit(bool(wrong) or duplicates > 0 or processed != sum(payments.values()))
