"""Valid documents that the tests of the schemas start from."""

PROMOTION_PATH = "intents/acme/spring-release.yaml"
PROMOTION = b"""\
apiVersion: pressluft/v1
kind: Promotion
metadata: {name: spring-release}
spec: {source: staging, target: production, reason: New checkout theme}
"""

ENVIRONMENT_PATH = "sites/acme/environments/staging.yaml"
ENVIRONMENT = b"""\
apiVersion: pressluft/v1
kind: Environment
metadata:
  name: staging
  id: 7d9f2b1c-0f3a-4c55-9d3e-2b6f3a1c8e10
spec:
  type: staging
  node: web-1
  source: production
  promotion_preset: commerce-protect
  url: https://staging.acme.example
  root: /srv/acme/staging
  database: {name: acme_staging, table_prefix: wp_}
  php: {fpm_service: php8.2-fpm, cli: php8.2}
  web_server: {cache_path: /var/cache/nginx/acme}
  protect:
    tables: [bookings, booking_*]
    paths: [wp-content/booking-files]
  health: {urls: [/, /shop/], body_contains: Acme, stable_for: 5s}
"""

PRODUCTION_PATH = "sites/acme/environments/production.yaml"
PRODUCTION = b"""\
apiVersion: pressluft/v1
kind: Environment
metadata: {name: production, id: 0b8f9d7e-35a5-4a51-8a6b-6d8d8a6f4f11}
spec:
  type: production
  node: web-1
  url: https://acme.example
  root: /srv/acme/production
  database: {name: acme}
"""

FLEET_PATH = "pressluft.yaml"
FLEET = b"""\
apiVersion: pressluft/v1
kind: Fleet
metadata: {name: agency}
spec:
  backup_max_age: PT2H
  drift_check_interval: off
  overwrite_policy: warn
  promotions: {enabled: false, reason: Stocktaking}
  freeze_windows:
    - {start: 2026-11-27T00:00:00, duration: P4D, time_zone: Europe/Berlin, reason: Black Friday}
    - {start: 2026-01-02T17:00, duration: PT63H, rrule: FREQ=WEEKLY;BYDAY=FR}
  timeouts: {backup: 12h}
"""

NODE_PATH = "nodes/web-1.yaml"
NODE = b"""\
apiVersion: pressluft/v1
kind: Node
metadata: {name: web-1, id: 9f3f3c0e-5f0b-4a2c-8f57-57d1f8f2a6b2}
spec: {host: web-1.acme.example, port: 2222, user: deploy}
"""

SITE_PATH = "sites/acme/site.yaml"
SITE = b"""\
apiVersion: pressluft/v1
kind: Site
metadata: {name: acme, id: 3f0d6c0a-7f7c-4a2b-9a3f-0a1d2c3b4e5f}
spec: {display_name: Acme Shop}
"""

ALL = {
    PROMOTION_PATH: PROMOTION,
    ENVIRONMENT_PATH: ENVIRONMENT,
    PRODUCTION_PATH: PRODUCTION,
    FLEET_PATH: FLEET,
    NODE_PATH: NODE,
    SITE_PATH: SITE,
}
