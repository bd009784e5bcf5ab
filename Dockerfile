# One image for all roles: `openorder serve order`, `openorder serve gateway`, … Built by BuildKit (Docker 23 and later, or
# any Compose 2), for its cache mounts.

FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
# The toolchain of the image is the one that rust-toolchain.toml names: nothing is downloaded for it.
ENV RUSTUP_TOOLCHAIN=1.95.0 CARGO_TERM_COLOR=never
# With TLS for Kafka (ADR 31): OpenSSL is built from source, with the compiler, make and perl of this image.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target,id=openorder-target-bookworm \
    cargo build --profile dist --locked --package openorder --bin openorder --features kafka-tls \
    && install -D --mode=755 target/dist/openorder /image/usr/local/bin/openorder

FROM debian:bookworm-slim
# Certificates for calls to the outside (mail, webhooks), and the folders that volumes with certificates of our own are
# mounted at, which take their owner from here; nothing else is needed.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin openorder \
    && install --directory --owner=10001 --group=10001 --mode=0700 /certs /authority
COPY --from=build /image/ /
USER 10001:10001
# TERM begins the bounded drain; a second one ends at once.
STOPSIGNAL SIGTERM
# Health is asked by the deployment, because each role has its own address: `openorder probe`.
ENTRYPOINT ["/usr/local/bin/openorder"]
CMD ["--help"]
