{{range .}}{{.Name}}|{{.LicenseName}}
{{end}}
