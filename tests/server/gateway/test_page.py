# SPDX-License-Identifier: Apache-2.0
"""The page in front of the real server: three budgets of one question are three answers."""

from client.gateway.browser import chromium, opened


def test_the_page_shows_what_budget_forcing_does_to_s1_tiny(root, door):
    with chromium(root) as browser, opened(browser, door.url) as page:
        page.ask("How many r in raspberry")
        assert [answer[-1] for answer in page.texts(".answer p")] == ["1", "2", "3"]
        assert page.texts(".count b") == ["0", "6", "39"]
        assert page.texts(".thought")[1:] == [
            "Glance: 2. ended by itself",
            "Glance: 2. end refused, 1 of 1Wait, spell: r1a1s1p1b1e1r2r3y3. So 3. ended by itself",
        ]
        assert page.page.locator("#about").is_visible()  # what s1-tiny can be asked
        page.draw(samples=4, budgets="8, 48")
        few, many = (page.texts(f"#rows tr:nth-child({number}) td")[2] for number in (1, 2))
        assert few < many  # such as "0 of 4" and "4 of 4"
