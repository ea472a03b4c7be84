# The server, without compilers, as a user without rights; see docs/server.md.
#   docker build -t mien . && docker run --read-only --tmpfs /tmp -v mien-data:/data -p 127.0.0.1:8000:8000 mien
FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/mien
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY recipes recipes
COPY examples examples
# `make web` before puts the browser files of private mode in here.
COPY src src
RUN /opt/mien/bin/pip install --no-cache-dir --constraint constraints.txt ".[serve]"

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home mien \
    && install --directory --owner=mien --mode=700 /data
COPY --from=build /opt/mien /opt/mien
ENV PATH=/opt/mien/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001
VOLUME /data
EXPOSE 8000
# Docker sends SIGTERM: what was accepted is finished, for which 30 s are enough.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["mien"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000", "--data", "/data"]
