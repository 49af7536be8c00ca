// Package iplist says whether an address is in a set of networks: those that documents name or have in lists (Rules, made by Lists),
// and those that an operator has blocked for a while (Blocks). It decides about one set; in which order sets are asked is the
// business of package edge.
//
// Sets are immutable and swapped whole, so that asking takes no lock and allocates nothing. Lists are read again when they change
// (files) or from time to time (URLs); what is bad is set aside with its error, and the last good form stays, over a restart too.
package iplist
