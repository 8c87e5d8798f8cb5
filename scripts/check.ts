/**
 * Every check that needs no running gateway: `npm run check`, or `npm run check -- types lint` for some of them.
 * Prints what a failed one said, and after more than one, `N passed, N failed`.
 */
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT, run, type Ran } from './root.ts';

const CRUISE = ['src', '--config', '.dependency-cruiser.js'];
const MANIFEST = path.join(ROOT, 'oclif.manifest.json');

const GATES: Readonly<Record<string, () => Ran>> = {
  types: () => run('tsc', ['-p', '.'], 'pipe'),
  lint: () => run('eslint', ['--max-warnings', '0', '.'], 'pipe'),
  format: () => run('prettier', ['--check', '.'], 'pipe'),
  imports: () => run('depcruise', [...CRUISE, '--output-type', 'err-long'], 'pipe'),
  modules: everyModuleIsSeen,
  'dead-code': () => run('knip', ['--no-config-hints'], 'pipe'),
  manifest: manifestIsCurrent,
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in GATES));
if (unknown.length > 0) {
  console.error(`no such check: ${unknown.join(', ')}; there are: ${Object.keys(GATES).join(', ')}`);
  process.exitCode = 2;
} else {
  process.exitCode = runGates(wanted.length > 0 ? wanted : Object.keys(GATES)) ? 0 : 1;
}

function runGates(names: readonly string[]): boolean {
  let passed = 0;
  for (const name of names) {
    const startedMs = performance.now();
    const ran = GATES[name]?.() ?? { ok: false, output: '' };
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    if (!ran.ok) console.log(ran.output.trimEnd());
    console.log(`${ran.ok ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)`);
    if (ran.ok) passed += 1;
  }
  if (names.length > 1) console.log(`${String(passed)} passed, ${String(names.length - passed)} failed`);
  return passed === names.length;
}

/** With a compiler that dependency-cruiser does not know, it sees no module, finds no violation, and passes. */
function everyModuleIsSeen(): Ran {
  const cruise = run('depcruise', [...CRUISE, '--output-type', 'json'], 'pipe');
  const start = cruise.output.indexOf('{');
  if (start < 0) return { ok: false, output: cruise.output };
  const { modules } = JSON.parse(cruise.output.slice(start)) as { modules: { source: string }[] };
  const seen = new Set(modules.map((module) => module.source).filter((source) => source.startsWith('src/')));
  const files = globSync('src/**/*.ts', { cwd: ROOT });
  const missed = files.filter((file) => !seen.has(file.replaceAll(path.sep, '/')));
  if (files.length > 0 && missed.length === 0 && seen.size === files.length) return { ok: true, output: '' };
  const told = `dependency-cruiser saw ${String(seen.size)} modules of ${String(files.length)} files under src`;
  return { ok: false, output: [told, ...missed].join('\n') };
}

/** The manifest that is committed is the one that the sources give. Leaves the committed one in place. */
function manifestIsCurrent(): Ran {
  const committed = existsSync(MANIFEST) ? readFileSync(MANIFEST, 'utf8') : '';
  const build = run('node', ['scripts/build.ts'], 'pipe');
  if (!build.ok) return build;
  if (readFileSync(MANIFEST, 'utf8') === committed) return { ok: true, output: '' };
  if (committed !== '') writeFileSync(MANIFEST, committed);
  return { ok: false, output: 'oclif.manifest.json is out of date: run "npm run build" and commit it' };
}
