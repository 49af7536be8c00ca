# gatehouse: a static binary in an image without a shell, for any user id, with a read-only root.
# Both base images are arguments, so that a mirror or a private registry can stand in.
ARG GO_IMAGE=golang:1.26-bookworm
ARG RUN_IMAGE=gcr.io/distroless/static-debian12:nonroot

FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=container
# Without this tag Coraza's cache mixes rule sets of tenants; the binary refuses to run its WAF.
RUN CGO_ENABLED=0 go build -trimpath -tags coraza.no_memoize \
        -ldflags "-s -w -X main.version=${VERSION}" -o /out/usr/local/bin/gatehouse ./cmd/gatehouse \
    && mkdir -p /out/data /out/etc/gatehouse/conf.d

FROM ${RUN_IMAGE}
# 65532 is the "nonroot" of distroless images.
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build --chown=65532:65532 /out/etc/gatehouse /etc/gatehouse
COPY --from=build /out/usr/local/bin/gatehouse /usr/local/bin/gatehouse
# gatehouse.yaml and conf.d are looked for in the working folder.
WORKDIR /etc/gatehouse
ENV GATEHOUSE_DATA=/data
VOLUME /data
USER 65532:65532
EXPOSE 8080 8443
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 CMD ["/usr/local/bin/gatehouse", "health"]
ENTRYPOINT ["/usr/local/bin/gatehouse"]
CMD ["serve"]
