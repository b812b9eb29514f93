// Package addresses finds out whose an IP is that no Pod has: a Service's, a node's, or
// nobody's, in a range of the cluster or outside of it.
package addresses
