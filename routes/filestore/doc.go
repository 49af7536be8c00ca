// Package filestore keeps routes in a folder of YAML files and follows what
// anybody changes there: an editor, a deployment, the verbs of gatehouse.
//
// Every *.yaml and *.yml file of the folder counts, in the order of their names;
// files that begin with a dot and folders do not. A file holds any number of
// tenants and vhosts (see routes.ParseFile).
//
//   - The same document in two files: the first one is in force, and a problem
//     names the other.
//   - A file that is not YAML, for instance because it is half written, takes
//     nothing away: what it held goes on serving with that problem.
//   - Put changes only the lines of the fields that change. Comments and all
//     other lines stay as they are, byte by byte.
//
// Start with Open; a routes.Follower does the rest.
package filestore
