// SPDX-License-Identifier: PostgreSQL
// The one door to PostgreSQL's headers. Include it after standard and core headers: postgres.h defines
// macros (ERROR, Min, Assert, snprintf …) that those must not see.
#pragma once

extern "C" {
#include <postgres.h>

#include <access/xact.h>
#include <fmgr.h>
#include <miscadmin.h>
#include <storage/lwlock.h>
#include <utils/builtins.h>
#include <utils/timestamp.h>
#if PG_VERSION_NUM >= 160000
#include <varatt.h>
#endif
}

// Before PostgreSQL 16 PGDLLEXPORT was empty off Windows, and we build with hidden visibility on every
// version.
#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#endif
