/* The search of the site: any word of a question finds a page; pages with more of the words, and with rarer ones, come first.

   Sphinx asks a page for all words, and people do not know ours. A page's title, and what it is looked for by (the entries of the index),
   counts twice as much as a heading. The best pages are shown: most of the site is no answer. The excerpts come from TEXTS, which stands in
   the page of the search: Sphinx fetches each page for its excerpt, which a browser refuses for a site opened from a folder. */
"use strict";

document.addEventListener("DOMContentLoaded", () => { // before Sphinx searches, which waits for the same
  const MOST_PAGES = 12, EXCERPT = 240;
  const ofOneWord = Search.performTermsSearch, all = Search._performSearch;
  const stemmer = new Stemmer();
  const stem = (word) => stemmer.stemWord(word.toLowerCase());

  Search.query = (query) => {
    const parsed = Search._parseQuery(query), results = Search._performSearch(...parsed).reverse();
    for (const result of results) Search.output.append(item(result, [...parsed[1]]));
    _finishSearch(results.length);
  };

  Search._performSearch = (query, ...terms) => {
    const isOfName = ([, name, , , , , kind]) => kind === SearchResultKind.object && /[._]/.test(query) && name.toLowerCase().endsWith(query.toLowerCase());
    const results = all(query, ...terms); // the best are the last
    return [...results.filter((result) => !isOfName(result)), ...results.filter(isOfName)].slice(-MOST_PAGES);
  };

  Search.performTermsSearch = (words, excluded) => {
    const { docnames, filenames, indexentries, titles } = Search._index;
    const named = [...Object.entries(indexentries), ...titles.map((title, page) => [title, [[page]]])];
    const entries = named.map(([entry, places]) => [splitQuery(entry).map(stem), places]);
    const total = new Map();
    for (const word of words) {
      const scores = new Map();
      for (const result of ofOneWord(new Set([word]), excluded)) scores.set(docnames.indexOf(result[0]), result[4]);
      for (const [stems, places] of entries) if (stems.includes(word)) for (const [page] of places) scores.set(page, 2 * Scorer.title);
      const rarity = Math.log(1 + docnames.length / scores.size);
      for (const [page, score] of scores) total.set(page, (total.get(page) ?? 0) + score * rarity);
    }
    total.delete(docnames.indexOf("reference/python")); // it has every word; who asks for a name of it gets that name
    return [...total].map(([page, score]) => [docnames[page], titles[page], "", null, score, filenames[page], SearchResultKind.text]);
  };

  const item = ([page, title, anchor, name, , , kind], words) => {
    const line = document.createElement("li"), link = document.createElement("a"), text = document.createElement("p");
    line.className = `kind-${kind}`;
    link.href = `${page}.html${anchor}`;
    link.textContent = title;
    text.className = "context";
    text.append(...(name ? [name] : excerpt(page, words, anchor && title.split(" > ").at(-1))));
    line.append(link, text);
    return line;
  };

  // The part of a page, from a heading on, with most of the words, marked; where none is in it, what the page is looked for by.
  const excerpt = (page, words, heading) => {
    const asked = ([word]) => words.find((root) => stem(word) === root || (root.length > 3 && word.toLowerCase().startsWith(root)));
    const placesIn = (text) => [...text.matchAll(/[\p{Letter}\p{Number}_]+/gu)].filter(asked);
    const { docnames, indexentries } = Search._index;
    let text = TEXTS[page].slice(Math.max(0, TEXTS[page].indexOf(heading)));
    if (!placesIn(text).length) {
      const ofPage = Object.keys(indexentries).filter((entry) => indexentries[entry].some(([number]) => docnames[number] === page));
      text = [...ofPage.filter((entry) => placesIn(entry).length), text].join(" · ");
    }
    const places = placesIn(text);
    const between = (start, end) => places.filter(({ index }) => index >= start && index < end);
    const variety = ({ index }) => new Set(between(index, index + EXCERPT / 2).map(asked)).size;
    let best = places[0], most = 0;
    for (const place of places) {
      const count = variety(place);
      if (count > most) [best, most] = [place, count];
    }
    const start = Math.max(0, (best?.index ?? 0) - EXCERPT / 2), end = start + EXCERPT;
    const parts = [start ? "…" : ""];
    let at = start;
    for (const { 0: word, index } of between(start, end)) {
      const mark = document.createElement("mark");
      mark.textContent = word;
      parts.push(text.slice(at, index), mark);
      at = index + word.length;
    }
    return [...parts, text.slice(at, Math.max(at, end)), end < text.length ? "…" : ""];
  };
});
