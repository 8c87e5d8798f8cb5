#!/usr/bin/env node
/**
 * The entry point of `sgw`, in plain JavaScript that also parses on the Node.js releases too old to run sgw.
 *
 * In this order: listens for interrupts; answers `--version` before anything is loaded; on an old Node.js hands
 * over to the one that npm installed for development, or says what to install; turns on the compile cache; loads
 * the built CLI, which listens for itself.
 * Invariants: static imports are built-in modules only; standard output carries nothing but the answer; an
 * interrupt is reported as the CLI does, however early it comes.
 */
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import module from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const NODE_MIN = [22, 22];
/** Exit code of a wrong set-up: as for bad usage, and as `ERROR_KINDS.invalid` says. */
const EXIT_INVALID = 2;
/** As `ERROR_KINDS.aborted` says. */
const EXIT_ABORTED = 130;
const INTERRUPTS = ['SIGINT', 'SIGTERM'];

for (const signal of INTERRUPTS) process.on(signal, leaveInterrupted);
// Node.js warns on standard error when both are set; sgw heeds the first.
if (process.env.NO_COLOR) delete process.env.FORCE_COLOR;

const root = path.dirname(path.dirname(realpathSync(fileURLToPath(import.meta.url))));
const argv = process.argv.slice(2);

if (argv[0] === '--version' || argv[0] === '-v') {
  printVersion();
} else if (!isSupported(process.versions.node)) {
  await handOver();
} else {
  await start();
}

function printVersion() {
  const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  const platform = `${process.platform}-${process.arch}`;
  const document = { version, platform, node: process.versions.node };
  const line = `sgw/${version} ${platform} node-v${process.versions.node}`;
  process.stdout.on('error', () => undefined);
  process.stdout.write(`${argv.includes('--json') ? JSON.stringify(document) : line}\n`);
}

/** @param {string} version such as `22.22.1` */
function isSupported(version) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1]);
}

/** Runs the same command line under the Node.js in `node_modules`, as if this process were that one. */
async function handOver() {
  const node = path.join(root, 'node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
  if (!existsSync(node) || realpathSync(node) === realpathSync(process.execPath)) {
    fail(
      'node-too-old',
      `sgw needs Node.js ${NODE_MIN.join('.')} or newer, and this is ${process.versions.node}`,
      'Install Node.js 24 from https://nodejs.org; in a checkout, run "npm ci", which brings it along.',
    );
    return;
  }
  const { spawn } = await import('node:child_process');
  const child = spawn(node, [...process.execArgv, fileURLToPath(import.meta.url), ...argv], { stdio: 'inherit' });
  child.once('error', (error) => {
    fail('node-not-started', `${node} does not start: ${error.message}`, 'Run "npm ci" to install it again.');
  });
  // The child may have got a signal from its terminal or group already: it counts both as one wish.
  for (const signal of INTERRUPTS) process.off(signal, leaveInterrupted);
  for (const signal of [...INTERRUPTS, 'SIGUSR2', 'SIGCONT', 'SIGWINCH', 'SIGQUIT', 'SIGHUP']) {
    process.on(signal, () => child.kill(signal));
  }
  child.once('exit', (code, signal) => {
    if (signal === null) {
      process.exit(code ?? 1);
    }
    // Interrupted before it could listen: it has said nothing yet.
    if (INTERRUPTS.includes(signal)) leaveInterrupted(signal);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

async function start() {
  correctHome();
  enableCompileCache();
  const cli = path.join(root, 'dist', 'core', 'cli', 'main.js');
  if (!existsSync(cli)) {
    fail('not-built', `sgw is not built: ${cli} does not exist`, 'Run "npm run build".');
    return;
  }
  const { main } = await import(new URL('../dist/core/cli/main.js', import.meta.url).href);
  const running = main({ argv, entryUrl: import.meta.url });
  for (const signal of INTERRUPTS) process.off(signal, leaveInterrupted);
  await running;
}

/** A HOME that is empty or relative is none: the user's own directory counts, for every library too. */
function correctHome() {
  if (process.platform === 'win32' || path.isAbsolute(process.env.HOME ?? '')) return;
  delete process.env.HOME;
  try {
    process.env.HOME = os.userInfo().homedir;
  } catch {
    // A user without an entry has no home directory.
  }
}

/**
 * Keeps compiled code in the user's own cache directory; never in the shared temporary one, where somebody
 * else could plant some. A directory that can't be written costs only time.
 */
function enableCompileCache() {
  try {
    module.enableCompileCache?.(path.join(cacheRoot(), 'sgw', 'compile'));
  } catch {
    // Without a home directory there is no cache.
  }
}

function cacheRoot() {
  const { XDG_CACHE_HOME: xdg, LOCALAPPDATA: local } = process.env;
  if (process.platform === 'win32' && local) return local;
  if (process.platform === 'darwin') return path.join(os.homedir(), 'Library', 'Caches');
  return xdg && path.isAbsolute(xdg) ? xdg : path.join(os.homedir(), '.cache');
}

/** Reports a set-up that can't run sgw. */
function fail(code, message, hint) {
  process.exitCode = EXIT_INVALID;
  report({ code, kind: 'invalid', message, hint, details: {}, retryable: false });
}

/** Ends a run that has done nothing yet. */
function leaveInterrupted(signal) {
  report({
    code: 'interrupted',
    kind: 'aborted',
    message: `interrupted by ${signal}`,
    hint: 'Nothing was done yet.',
    details: { signal },
    retryable: true,
  });
  process.exit(EXIT_ABORTED);
}

/** Shows an error in the form that every command's errors have. */
function report(error) {
  const isJson = argv.includes('--json') || /^(?:1|true|yes|y|on)$/i.test(process.env.SGW_JSON ?? '');
  if (isJson) process.stdout.write(`${JSON.stringify({ error }, undefined, 2)}\n`);
  else process.stderr.write(`error: ${error.message} [${error.code}]\nhint:  ${error.hint}\n`);
}
