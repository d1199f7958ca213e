# An image with one file, /handoff: the holder, and what looks into a service. Less than 5 MB
# to pull, see docs/containers.md.
#
#   docker build -t handoff --build-arg VERSION="$(git describe --tags)" .
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION
ARG TARGETOS
ARG TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -tags small -ldflags "-s -w -X main.version=$VERSION" -o /handoff ./cmd/handoff

FROM scratch
COPY --from=build /handoff /handoff
ENTRYPOINT ["/handoff"]
