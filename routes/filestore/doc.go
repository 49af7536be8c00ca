// Package filestore keeps routes in a folder of YAML files and follows what
// anybody changes there: an editor, a deployment, the verbs of gatehouse.
//
// Every *.yaml and *.yml file of the folder counts, in the order of their names;
// files that begin with a dot and folders do not. A file holds any number of
// tenants and vhosts (see routes.ParseFile).
//
//   - The same document in two files: the one that has been serving
//     stays in force (at the start of a run, the first by name), and a problem
//     names the other.
//   - A file that is not YAML, for instance because it is half written, takes
//     nothing away: what it held goes on serving with that problem.
//   - An empty folder in the place of another one, such as a mount point whose
//     mount is not there yet, says nothing: what is absent from it is held.
//   - Put changes only the lines of the fields that change. Comments and all
//     other lines stay as they are, byte by byte.
//
// Start with Open; a routes.Follower does the rest.
package filestore
