// Package oracle implements the README's rules for Testcrs a second time, in the
// sections Fields and Bounds and in the table of labels. `podinfolookup verify`
// and test/auditor compare the stored Testcrs with it. It must not import the
// controller, because a mistake in shared code would not be found.
//
// A new field of the CRD takes one more row in the table fields, or containerFields.
// A test compares both tables with yaml/testcrd.yaml.
package oracle
