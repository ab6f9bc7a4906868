# syntax=docker/dockerfile:1

FROM python:3.12-slim AS build
WORKDIR /src
# The dependencies first: they change seldom.
COPY constraints.txt pyproject.toml setup.cfg README.md LICENSE ./
COPY server ./server
COPY actors ./actors
COPY sql ./sql
COPY migrations ./migrations
RUN pip wheel --no-cache-dir --constraint constraints.txt --wheel-dir /wheels ".[vault]"

FROM python:3.12-slim
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    BOARDCAST_HOST=0.0.0.0 \
    BOARDCAST_PORT=8080 \
    BOARDCAST_DATA_DIR=/data
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels "boardcast[vault]" \
    && python -m compileall -q "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
    && useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin boardcast \
    && install --directory --owner boardcast --mode 700 /data
USER boardcast
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['BOARDCAST_PORT'] + '/health/ready', timeout=3)"]
ENTRYPOINT ["boardcast"]
CMD ["serve"]
