/** Runs a command's class in this process, over the fake gateway, with streams that remember. */
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { Config, type Command } from '@oclif/core';
import { describeFailure } from '../../src/core/cli/failure.ts';
import { globalFlagsLast } from '../../src/core/cli/argv.ts';
import { reportFailure } from '../../src/core/cli/main.ts';
import { withRuntime, type Runtime } from '../../src/core/cli/runtime.ts';
import { SgwError } from '../../src/core/kit/index.ts';
import { createFakeGateway, type FakeGateway, type FakeOptions } from './fake-gateway.ts';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export interface RunOptions extends Partial<Omit<FakeOptions, 'SgwError'>> {
  readonly env?: Record<string, string>;
  readonly interrupt?: AbortSignal;
}

export interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly calls: FakeGateway['calls'];
  readonly wasClosed: boolean;
  /** Standard output as the one JSON document that it is. */
  document(): Record<string, unknown>;
}

let loading: Promise<Config> | undefined;

/** The class of a verb, such as `volume create`. */
export async function commandClass(verb: string): Promise<Command.Class> {
  const file = new URL(`../../src/commands/${verb.replaceAll(' ', '/')}.ts`, import.meta.url).href;
  const { default: found } = (await import(file)) as { default: Command.Class };
  found.id = verb.replaceAll(' ', ':');
  return found;
}

/** Runs `verb` with the words after it. Nothing of the user's own preferences is seen. */
export async function runVerb(verb: string, words: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const streams = { stdout: new PassThrough(), stderr: new PassThrough() };
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    streams[name].on('data', (chunk: Buffer) => {
      texts[name] += chunk.toString();
    });
  }
  const fake = createFakeGateway({ ...options, SgwError });
  const runtime: Runtime = {
    env: { SGW_CONFIG_DIR: '/nonexistent/sgw', HOME: '/nonexistent', ...options.env },
    stdin: new PassThrough(),
    ...streams,
    interrupt: options.interrupt ?? new AbortController().signal,
    openGateway: async () => fake.api,
  };
  let exitCode = 0;
  try {
    const [found, config] = await Promise.all([commandClass(verb), (loading ??= Config.load(ROOT))]);
    await withRuntime(
      runtime,
      async (): Promise<unknown> => found.run(globalFlagsLast(words), config) as Promise<unknown>,
    );
  } catch (error) {
    exitCode = await reportFailure(describeFailure(error), words, runtime);
  }
  return {
    exitCode,
    ...texts,
    calls: fake.calls,
    wasClosed: fake.isClosed(),
    document: () => JSON.parse(texts.stdout) as Record<string, unknown>,
  };
}
