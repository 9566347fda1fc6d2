// What check_pages.py asks of a page, in the page.
({
  shown(selector) {
    return [...document.querySelectorAll(selector)].filter((node) =>
      node.checkVisibility({ visibilityProperty: true, opacityProperty: true }),
    );
  },

  /** Head, headings, landmarks, and what has no name for those who cannot see it. */
  outline() {
    const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";
    const name = (node) =>
      node.getAttribute("aria-label") ||
      node.getAttribute("aria-labelledby") ||
      node.getAttribute("alt") ||
      node.textContent.trim() ||
      node.title ||
      node.querySelector("title, img[alt]");
    return {
      lang: document.documentElement.lang,
      title: document.title,
      description: meta("description"),
      viewport: meta("viewport"),
      skipLink: document.querySelector("a").getAttribute("href"),
      headings: this.shown("h1, h2, h3, h4, h5, h6").map((node) => Number(node.tagName[1])),
      main: this.shown("main").length,
      banner: this.shown("body > header").length,
      navigation: this.shown("nav").length,
      nameless: this.shown("a[href], button, img, svg")
        .filter((node) => !node.closest("[aria-hidden=true]") && !name(node))
        .map((node) => node.outerHTML.slice(0, 90)),
    };
  },

  /** WCAG 2.5.8: links inside a sentence are exempt, and so is what has its room around it. */
  smallTargets(least) {
    const inSentence = (node) =>
      getComputedStyle(node).display === "inline" &&
      node.parentElement.textContent.trim() !== node.textContent.trim();
    const targets = this.shown("a[href], button, input, select, summary, [role=button]")
      .filter((node) => !node.matches("label input, .visually-hidden, .skip-link"))
      .map((node) => ({ node, box: node.getBoundingClientRect() }));
    const distance = ({ box: one }, { box: other }) =>
      Math.hypot(
        one.x + one.width / 2 - other.x - other.width / 2,
        one.y + one.height / 2 - other.y - other.height / 2,
      );
    return targets
      .filter(({ box }) => box.width > 1 && (box.width < least || box.height < least))
      .filter(({ node }) => !inSentence(node))
      .filter((one) => targets.some((other) => other !== one && distance(one, other) < least))
      .map(({ node, box }) => `${node.outerHTML.slice(0, 60)} is ${box.width} × ${box.height} px`);
  },

  /** Milliseconds to the first paint of text and to a complete document. */
  times() {
    return {
      paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0,
      dom: performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd,
    };
  },

  /** The sum of layout shifts so far that no input caused, and what they moved. */
  shift() {
    return new Promise((resolve) => {
      const found = { sum: 0, moved: [] };
      const name = ({ node }) => node?.id || node?.getAttribute?.("class") || node?.textContent || node?.nodeName;
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries().filter((one) => !one.hadRecentInput)) {
          found.sum += entry.value;
          found.moved.push(...entry.sources.map((source) => `${name(source)}`.slice(0, 40)));
        }
      }).observe({ type: "layout-shift", buffered: true });
      setTimeout(() => resolve(found), 50);
    });
  },
})
