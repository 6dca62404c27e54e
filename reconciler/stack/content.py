"""Made-up content for a demonstration site, as SQL and image bytes; nothing here touches a site."""

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import TypeAlias

SHOP_OPTION = "pressluft_demo_shop_settings"
UPLOAD_MONTH = "2026/01"
_SHOP_ITEMS = 20
_IMAGE_SIDE = 48

Serializable: TypeAlias = "str | int | Sequence[Serializable] | Mapping[str, Serializable]"


def serialize_php(value: Serializable) -> str:
    """Return what PHP's serialize() makes of strings, integers, lists and string-keyed mappings."""
    if isinstance(value, str):
        return f's:{len(value.encode())}:"{value}";'
    if isinstance(value, int):
        return f"i:{value};"
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
    inner = "".join(serialize_php(key) + serialize_php(item) for key, item in pairs)
    return f"a:{len(value)}:{{{inner}}}"


def make_settings_sql(*, url: str, table_prefix: str) -> str:
    """Return SQL that gives the demonstration shop its settings (one serialized option with addresses) and items."""
    settings: dict[str, Serializable] = {
        "banner": "Free delivery — this week only",
        "checkout_url": f"{url}/?page=checkout",
        "currency": "EUR",
        "images": [f"{url}/wp-content/uploads/{UPLOAD_MONTH}/demo-{number:04d}.png" for number in (1, 2)],
        "layout": json.dumps({"logo": f"{url}/logo.png"}).replace("/", r"\/"),
    }
    return f"""
REPLACE INTO `{table_prefix}options` (option_name, option_value, autoload)
  VALUES ('{SHOP_OPTION}', '{_escape(serialize_php(settings))}', 'yes');
INSERT INTO `{table_prefix}demo_shop_items` (sku, name, price, image_url)
  SELECT CONCAT('SKU-', seq), CONCAT('Item ', seq), seq * 3.5,
    CONCAT('{url}/wp-content/uploads/{UPLOAD_MONTH}/demo-', LPAD(seq, 4, '0'), '.png')
  FROM seq_1_to_{_SHOP_ITEMS};
"""  # noqa: S608  our own constants and the site's own address


def make_content_sql(*, url: str, table_prefix: str, posts: int, comments: int, uploads: int) -> str:
    """Return SQL for published posts with serialized and JSON metadata, comments on them, and attachments.

    May run once for a site. Every kind of value that addresses hide in occurs: plain text, HTML, serialized,
    JSON with escaped slashes.
    """
    parts = [_POSTS]
    parts += [_COMMENTS] if comments and posts else []
    parts += [_ATTACHMENTS] if uploads else []
    words = {"posts": posts, "comments": comments, "uploads": uploads, "url": url, "p": table_prefix}
    text = "".join(parts)
    for name, value in words.items():
        text = text.replace(f"<{name}>", str(value))
    return text


_POSTS = r"""
SET sql_mode = '';
INSERT INTO `<p>posts` (post_author, post_date, post_date_gmt, post_content, post_title, post_excerpt, post_status,
    post_name, to_ping, pinged, post_modified, post_modified_gmt, post_content_filtered, guid, post_type)
  SELECT 1, d, d,
    CONCAT('<p>Story number ', seq, '. Read <a href="<url>/?name=demo-story-', seq, '">the story before</a>.</p>',
      '<p><img src="<url>/wp-content/uploads/2026/01/demo-', LPAD(1 + seq MOD 12, 4, '0'), '.png" alt=""></p>'),
    CONCAT('Story ', seq, IF(seq MOD 7, '', ' über Äpfel — 🍏')), '', 'publish', CONCAT('demo-story-', seq), '', '',
    d, d, '', CONCAT('<url>/?demo-story=', seq), 'post'
  FROM (SELECT seq, TIMESTAMP('2026-01-01') + INTERVAL seq HOUR AS d FROM seq_1_to_<posts>) AS days;
INSERT INTO `<p>postmeta` (post_id, meta_key, meta_value)
  SELECT ID, '_demo_gallery', CONCAT('a:2:{s:5:"title";s:', LENGTH(post_title), ':"', post_title, '";s:3:"url";s:',
    LENGTH(guid), ':"', guid, '";}')
  FROM `<p>posts` WHERE post_name LIKE 'demo-story-%';
INSERT INTO `<p>postmeta` (post_id, meta_key, meta_value)
  SELECT ID, '_demo_layout', CONCAT('{"image":"', REPLACE('<url>/logo.png', '/', '\\/'), '","post":', ID, '}')
  FROM `<p>posts` WHERE post_name LIKE 'demo-story-%';
INSERT INTO `<p>term_relationships` (object_id, term_taxonomy_id)
  SELECT ID, 1 FROM `<p>posts` WHERE post_name LIKE 'demo-story-%';
UPDATE `<p>term_taxonomy` SET count = (SELECT COUNT(*) FROM `<p>term_relationships` WHERE term_taxonomy_id = 1)
  WHERE term_taxonomy_id = 1;
"""

_COMMENTS = r"""
INSERT INTO `<p>comments` (comment_post_ID, comment_author, comment_author_email, comment_author_url,
    comment_date, comment_date_gmt, comment_content, comment_approved, comment_agent, comment_type)
  SELECT story.ID, CONCAT('Reader ', seq), CONCAT('reader', seq, '@example.test'), '<url>', story.post_date,
    story.post_date, CONCAT('Comment ', seq, ', see <url>/?p=', story.ID), '1', 'demo', 'comment'
  FROM seq_1_to_<comments> JOIN (SELECT ID, post_date, ROW_NUMBER() OVER (ORDER BY ID) - 1 AS place
    FROM `<p>posts` WHERE post_name LIKE 'demo-story-%') AS story ON story.place = seq MOD <posts>;
UPDATE `<p>posts` SET comment_count =
  (SELECT COUNT(*) FROM `<p>comments` WHERE comment_post_ID = ID AND comment_approved = '1');
"""

_ATTACHMENTS = r"""
INSERT INTO `<p>posts` (post_author, post_date, post_date_gmt, post_content, post_title, post_excerpt, post_status,
    post_name, to_ping, pinged, post_modified, post_modified_gmt, post_content_filtered, guid, post_type,
    post_mime_type)
  SELECT 1, '2026-01-01', '2026-01-01', '', CONCAT('Picture ', seq), '', 'inherit', CONCAT('demo-picture-', seq),
    '', '', '2026-01-01', '2026-01-01', '',
    CONCAT('<url>/wp-content/uploads/2026/01/demo-', LPAD(seq, 4, '0'), '.png'), 'attachment', 'image/png'
  FROM seq_1_to_<uploads>;
INSERT INTO `<p>postmeta` (post_id, meta_key, meta_value)
  SELECT ID, '_wp_attached_file', CONCAT('2026/01/demo-', LPAD(SUBSTRING(post_name, 14), 4, '0'), '.png')
  FROM `<p>posts` WHERE post_name LIKE 'demo-picture-%';
"""


def make_png(number: int) -> bytes:
    """Return a small valid PNG whose pixels depend on `number`."""
    rows = b"".join(
        b"\0"
        + bytes(
            (number * 37 + x * y + channel * 85) % 256 for x in range(_IMAGE_SIDE) for channel in range(3)
        )
        for y in range(_IMAGE_SIDE)
    )
    header = struct.pack(">IIBBBBB", _IMAGE_SIDE, _IMAGE_SIDE, 8, 2, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_make_chunk(kind, data) for kind, data in chunks)


def _make_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
