// Looks at each page in a browser: node browser.mjs PACKAGES BROWSER PICTURES NAME=URL...
// A line for each page and look; exit status 1 if anything was found.
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import { existsSync, readFileSync } from 'node:fs';

const [packages, program, pictures, ...states] = process.argv.slice(2);
const executablePath = process.env.PATH.split(delimiter).map((folder) => join(folder, program)).find(existsSync);
const require = createRequire(join(packages, 'x.js'));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

// Each of the two colour schemes and each of the two widths. A narrow page has the colours of a wide one.
const looks = [['light', 1280], ['dark', 1280], ['dark', 360]]
  .map(([colorScheme, width]) => ({ colorScheme, viewport: { width, height: 740 } }));
// The pictures that the documents show, by state, colours and width.
const shown = new Map([
  ['in-sync-light-1280', 'in-sync.png'], ['denied-dark-360', 'denied-phone-dark.png'],
  ['alerts-dark-1280', 'alerts-dark.png'],
]);
// Of each state the page is judged that holds still. The page at / differs from it by loading itself again, which axe's rule
// meta-refresh forbids in any case, and links to it for those whom that disturbs.
const places = states.map((state) => {
  const at = state.indexOf('=');
  return { name: state.slice(0, at), url: `${state.slice(at + 1)}/still` };
});
places.push({ name: 'runbook', url: places[0].url.replace('/still', '/runbook#contested') });

// The sandbox needs user namespaces that root in a container may lack. The pages are the test's own.
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
let found = 0;
await Promise.all(looks.map(async (look) => {
  const context = await browser.newContext(look);
  const page = await context.newPage();
  // The machine may be busy with other tests. The caller has a limit of its own.
  page.setDefaultTimeout(0);
  let findings = [];
  page.on('console', (message) => findings.push(`console: ${message.text()}`));
  page.on('pageerror', (error) => findings.push(`error: ${error.message}`));
  for (const { name, url } of places) {
    findings = [];
    const answer = await page.goto(url);
    if (answer.status() !== 200) findings.push(`status ${answer.status()}`);
    const title = await page.title();
    if (title.startsWith('STUCK') !== (name === 'stuck')) findings.push(`the title is ${title}`);
    const seen = await page.evaluate(() => ({
      styled: document.styleSheets.length,
      scripts: document.scripts.length,
      wide: document.documentElement.scrollWidth - window.innerWidth,
      at: document.querySelector(':target')?.tagName,
      background: getComputedStyle(document.body).backgroundColor,
    }));
    if (seen.styled !== 1 || seen.scripts !== 0) findings.push(`style sheets ${seen.styled}, scripts ${seen.scripts}`);
    if (seen.wide > 0) findings.push(`${seen.wide} px wider than the screen`);
    if (name === 'runbook' && seen.at !== 'H2') findings.push('the anchor is no heading');
    const light = seen.background === 'rgb(255, 255, 255)';
    if (light !== (look.colorScheme === 'light')) findings.push(`background ${seen.background}`);
    await page.evaluate(axe);
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
    // Only findings are put together: the rest of the result is most of axe's work.
    const options = { runOnly: { type: 'tag', values: tags }, resultTypes: ['violations'] };
    const result = await page.evaluate((options) => window.axe.run(document, options), options);
    for (const { id, help, nodes } of result.violations) {
      for (const node of nodes) findings.push(`${id}: ${help}: ${node.html.slice(0, 200)} ${node.failureSummary}`);
    }
    const which = `${name}-${look.colorScheme}-${look.viewport.width}`;
    const file = process.env.UPDATE_SCREENSHOTS ? shown.get(which) : undefined;
    if (file) await page.screenshot({ path: join(pictures, file), fullPage: !file.includes('alerts') });
    console.log(`${which}: ${findings.length ? findings.join('\n  ') : 'no findings'}`);
    found += findings.length;
  }
  await context.close();
}));
await browser.close();
process.exit(found ? 1 : 0);
