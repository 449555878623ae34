"""Look at the built site: is every link inside it good, and does every page fit a screen?

    python docs/check_pages.py docs/_build

First every link and picture of every page is looked for among the files, and what follows a # among
the names in the file that it leads to. Then headless Chromium opens each page at the width of a
desktop and of a phone: no page may scroll sideways, no picture may be missing. Without Chromium the
second half is left out, and a line says so.
"""

import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

WIDTHS = (1280, 390)  # pixels: a desktop, a phone


class Page(HTMLParser):
    """What a page links to, and what in it can be linked to."""

    def __init__(self, path):
        super().__init__()
        self.links, self.names = [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.names.update(attributes[key] for key in ("id", "name") if attributes.get(key))
        self.links += [attributes[key] for key in ("href", "src") if attributes.get(key)]


def pages_of(site):
    """Its pages, without the templates that the theme leaves among its files."""
    return [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]


def broken_links(site):
    """A sentence for each link inside the site that leads nowhere."""
    pages = {path: Page(path) for path in pages_of(site)}
    found = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            name = unquote(parts.fragment)
            if not target.is_file():
                found.append(f"{path.relative_to(site)}: {link} is no file")
            elif name and target in pages and name not in pages[target].names:
                found.append(f"{path.relative_to(site)}: {link} has no such place")
    return found


# Of the browser

MEASURE = """
const pictures = [...document.images];
pictures.forEach((picture) => (picture.loading = "eager"));
await Promise.all(pictures.map((picture) => picture.decode().catch(() => {})));
const width = document.documentElement.clientWidth;
return {
  width: width,
  content: document.documentElement.scrollWidth,
  missing: pictures.filter((picture) => !picture.naturalWidth).map((picture) => picture.src),
  wide: [...document.querySelectorAll("main *")]
    .filter((one) => one.getBoundingClientRect().right > width + 1)
    .map((one) => one.tagName.toLowerCase() + " " + one.textContent.trim().slice(0, 60)),
};
"""


def installed(*names):
    """Path of the first of some programs that there is, or None."""
    return next(filter(None, map(shutil.which, names)), None)


BROWSER = installed("chromium", "chromium-browser", "google-chrome")
DRIVER = installed("chromedriver")


def chromium():
    """A headless Chromium, and no call of it to the outside."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--hide-scrollbars",
    ):
        options.add_argument(argument)
    return webdriver.Chrome(options, webdriver.ChromeService(DRIVER))


def misfits(site, browser):
    """A sentence for each page that scrolls sideways or misses a picture."""
    found = []
    for path in pages_of(site):
        browser.get(path.resolve().as_uri())
        for width in WIDTHS:
            # Headless windows have a least width; the emulated screen of a phone has not.
            screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
            seen = browser.execute_script(MEASURE)
            page = f"{path.relative_to(site)} at {seen['width']} pixels"
            if seen["width"] != width:
                found.append(f"{page}: the screen has to be {width} wide")
            if seen["content"] > seen["width"]:
                wide = f", as by {seen['wide'][-1]!r}" if seen["wide"] else ""
                found.append(f"{page} scrolls sideways to {seen['content']}{wide}")
            found += [f"{page} misses the picture {source}" for source in seen["missing"]]
    return found


def main(site):
    found = broken_links(site)
    if not (BROWSER and DRIVER):
        print("pages were not looked at in a browser: Chromium and chromedriver are not installed")
    else:
        browser = chromium()
        try:
            found += misfits(site, browser)
        finally:
            browser.quit()
    for fault in found:
        print(fault)
    n_pages = len(pages_of(site))
    print(f"{len(found)} faults on {n_pages} pages")
    return 1 if found or not n_pages else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]).resolve()))
