module server

go 1.25.0
