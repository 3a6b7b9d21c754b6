wrk.method = "POST"
wrk.body = '{"model":"default","prompt":"constant","max_tokens":1,"stream":false}'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Connection"] = "close"
