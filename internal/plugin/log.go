package plugin

import (
	"strconv"

	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"
)

// maxVerbosity is the highest log level of requests. Above it client-go logs bodies, and
// those of logins and of Secrets contain secrets.
const maxVerbosity = 7

// logRequests makes client-go log to standard error. Its logger is one of the whole
// process.
func (o *options) logRequests() {
	level := min(o.verbosity, maxVerbosity)
	if level <= 0 {
		return
	}
	var global klog.Level
	_ = global.Set(strconv.Itoa(level)) // a number
	klog.SetLogger(textlogger.NewLogger(textlogger.NewConfig(textlogger.Verbosity(level), textlogger.Output(o.ErrOut))))
}
