// Package harness contains what the benchmarks share: the cluster, the Pods, the
// programs that are measured, their processor time, memory and writes, and the
// report.
package harness
