// Package overload keeps the process within its memory: it finds the bound that
// the machine sets, tells Go's runtime, watches how much is really in use and
// says how much the server has to give up.
//
// It refuses nothing itself and knows no connection, request or cache: the
// server reads a [Level] and acts on it, and what can give memory back is a
// [Shrinker]. It is not for the processor, descriptors or the disk.
//
// # How to start
//
//	bound, err := overload.SetGoLimit("/", log) // first thing in the process
//	m, err := overload.New(overload.Options{Limit: bound.Limit, Cache: store, Logger: log})
//	go m.Run(ctx)
//	…
//	if m.Level() >= overload.Shed { … } // one atomic load
//
// # What is counted
//
// With a memory limit, Go's runtime lets garbage fill all the room there is
// before it collects. So neither the resident size nor the heap's size says
// anything about pressure: both stand near the limit in a healthy process.
// What cannot be had back is counted instead:
//
//	used = live objects at the end of the last collection
//	     + stacks, the runtime's own structures and other memory that is no heap
//
// Objects made since the last collection are left out, since most of them are
// garbage already. That cannot hide a burst: to grow beyond the limit, the heap
// has to reach it, and the runtime collects before it does. What is mapped
// beyond the limit by more than a twenty-fifth counts as it stands, since then
// the runtime has lost the fight, for whatever reason. A sample is taken every
// 250 ms, and up to every 10 ms where the limit is so small that a burst of 1 GiB/s
// would take more than a twentieth of it in that time.
//
// Two things would make that figure old, and a collection is forced for them,
// at most once a second and for at most a twentieth of the time. When live and
// dead objects together come near the first threshold and nothing was collected
// for a second, a collection tells them apart. And when a server that sheds
// everything makes no more garbage, nobody would collect what it gave up, and it
// would shed on until the runtime's two minutes are over.
package overload
