// Package wire turns bytes of the API server into Pods and Testcrs, and Testcrs into
// the objects of the dynamic client.
package wire
