# The datamesh image: built on Debian, run on its slim sibling, so that both have one C library.
#   docker build -t datamesh .          or: make docker
#   docker compose up                   one node, six drives, its keys in a volume of their own

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# s3s declares rustc 1.96; it builds and passes its tests on 1.95. The image's own toolchain is used:
# rust-toolchain.toml stays outside (.dockerignore), or rustup would fetch what the image has.
RUN cargo build --release --locked --ignore-rust-version -p gateway-server

FROM debian:bookworm-slim
RUN groupadd --gid 10001 datamesh \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /keys --shell /usr/sbin/nologin datamesh \
 && mkdir -p /data/1 /data/2 /data/3 /data/4 /data/5 /data/6 /keys \
 && chown -R datamesh:datamesh /data /keys && chmod 700 /keys
COPY --from=build /src/target/release/datamesh /usr/local/bin/datamesh

# Nothing secret in here: keys are made on the first start, into /keys. Back that volume up, and keep it
# apart from the drives.
ENV DATAMESH_DRIVES=/data/1,/data/2,/data/3,/data/4,/data/5,/data/6 \
    DATAMESH_KEY_FILE=/keys/keyring.key \
    DATAMESH_CREDENTIALS_FILE=/keys/credentials.json \
    NO_COLOR=1
VOLUME ["/data/1", "/data/2", "/data/3", "/data/4", "/data/5", "/data/6", "/keys"]
USER 10001:10001
WORKDIR /keys
EXPOSE 9000

# bash speaks HTTP well enough, and spares the image a client. 503 is unhealthy: the cause is in its body.
# The admin port is where the environment says; one moved by a settings file alone is not looked for.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["bash", "-c", "port=${DATAMESH_ADMIN_LISTEN##*:} && exec 3<>/dev/tcp/127.0.0.1/${port:-9001} && printf 'GET /health/ready HTTP/1.0\\r\\n\\r\\n' >&3 && read -r -t 4 _ status _ <&3 && [ \"$status\" = 200 ]"]

STOPSIGNAL SIGTERM
ENTRYPOINT ["datamesh"]
CMD ["serve"]
