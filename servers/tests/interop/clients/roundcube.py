"""Drives Roundcube through headless Chromium: log in, list, read, search, move.  Usage: roundcube.py URL PROFILE-DIR"""

import sys

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as until
from selenium.webdriver.support.ui import WebDriverWait

url, profile = sys.argv[1:]
options = Options()
for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--disable-dev-shm-usage", "--window-size=1400,900", f"--user-data-dir={profile}"):
    options.add_argument(flag)
options.binary_location = "/usr/bin/chromium"
browser = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
wait = WebDriverWait(browser, 30)


def subjects():
    return [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, "#messagelist tbody tr .subject a")
            if cell.is_displayed() and cell.text]


def listed(wanted):
    """Waits until exactly these subjects are listed."""
    try:
        wait.until(lambda _: sorted(subjects()) == sorted(wanted))
    except Exception:
        raise SystemExit(f"listed are {subjects()}, not {wanted}")


def step(name):
    print("roundcube:", name, flush=True)


try:
    step("log in")
    browser.get(url)
    wait.until(until.presence_of_element_located((By.ID, "rcmloginuser"))).send_keys("alice")
    browser.find_element(By.ID, "rcmloginpwd").send_keys("pass")
    browser.find_element(By.ID, "rcmloginsubmit").click()
    step("list")
    wait.until(until.presence_of_element_located((By.ID, "messagelist")))
    listed(["webmail number 1", "webmail number 2", "webmail number 3"])
    folders = [link.text for link in browser.find_elements(By.CSS_SELECTOR, "#mailboxlist li a")]
    assert any("Archive" in folder for folder in folders), folders
    step("read")
    uid = browser.execute_script("return rcmail.message_list.get_first_row()")
    browser.get(f"{url}?_task=mail&_mbox=INBOX&_uid={uid}&_action=show")
    body = wait.until(until.presence_of_element_located((By.ID, "messagebody"))).text
    assert "The body of webmail" in body, body
    step("search")
    browser.get(f"{url}?_task=mail&_mbox=INBOX")
    wait.until(until.presence_of_element_located((By.ID, "messagelist")))
    listed(["webmail number 1", "webmail number 2", "webmail number 3"])
    browser.execute_script("document.getElementById('mailsearchform').value = 'number 2'; rcmail.command('search')")
    listed(["webmail number 2"])
    step("move")
    browser.execute_script(
        "var list = rcmail.message_list; list.select(list.get_first_row()); rcmail.command('move', 'Archive')")
    listed([])
    browser.get(f"{url}?_task=mail&_mbox=Archive")
    wait.until(until.presence_of_element_located((By.ID, "messagelist")))
    listed(["webmail number 2"])
    browser.get(f"{url}?_task=mail&_mbox=INBOX")
    listed(["webmail number 1", "webmail number 3"])
    step("done")
except Exception:
    print(browser.current_url, browser.find_element(By.TAG_NAME, "body").text[:2000], file=sys.stderr)
    raise
finally:
    browser.quit()
