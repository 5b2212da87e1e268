/* The search of the site: any word of a question finds a page; pages with more of the words, and with rarer ones, come first.

   Sphinx asks a page for all words, and people do not know ours. A page's title, and what it is looked for by (the entries of the index),
   counts twice as much as a heading. The best pages are shown: most of the site is no answer. */
"use strict";

document.addEventListener("DOMContentLoaded", () => { // before Sphinx searches, which waits for the same
  const MOST_PAGES = 12;
  const ofOneWord = Search.performTermsSearch, all = Search._performSearch;

  Search._performSearch = (...query) => all(...query).slice(-MOST_PAGES); // the best are the last

  Search.performTermsSearch = (words, excluded) => {
    const { docnames, filenames, indexentries, titles } = Search._index;
    const stemmer = new Stemmer();
    const named = [...Object.entries(indexentries), ...titles.map((title, page) => [title.toLowerCase(), [[page]]])];
    const entries = named.map(([entry, places]) => [splitQuery(entry).map((word) => stemmer.stemWord(word)), places]);
    const found = new Map();
    for (const word of words) {
      const scores = new Map();
      for (const result of ofOneWord(new Set([word]), excluded)) scores.set(docnames.indexOf(result[0]), result[4]);
      for (const [stems, places] of entries) if (stems.includes(word)) for (const [page] of places) scores.set(page, 2 * Scorer.title);
      const rarity = Math.log(1 + docnames.length / scores.size);
      for (const [page, score] of scores) found.set(page, (found.get(page) ?? 0) + score * rarity);
    }
    return [...found].map(([page, score]) => [docnames[page], titles[page], "", null, score, filenames[page], SearchResultKind.text]);
  };
});
