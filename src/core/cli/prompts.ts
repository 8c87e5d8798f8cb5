/**
 * Asks on a terminal, by inquirer, which is loaded only then. Questions go to standard error, so that
 * standard output carries nothing but the result. Every question has a flag: without a terminal, or
 * with `--no-input`, the answer is an error that names it.
 */
import { SgwError } from '../kit/index.ts';
import { write, type Runtime } from './runtime.ts';

export interface Question {
  /** The question, such as `Name of the volume:`. */
  readonly message: string;
  /** How to answer without being asked, such as `--name NAME`. */
  readonly flag: string;
}

export interface TextQuestion extends Question {
  readonly default?: string;
  /** Throws or rejects, as the flag's reader does, when the answer can't be used. */
  readonly check?: (text: string) => unknown;
}

export interface ChoiceQuestion extends Question {
  readonly choices: readonly { readonly value: string; readonly name: string }[];
}

type Ask = (question: Record<string, unknown>) => Promise<unknown>;

export class Prompts {
  readonly #runtime: Runtime;
  /** Whether questions can be asked. */
  readonly isInteractive: boolean;

  constructor(runtime: Runtime, allowed: boolean) {
    this.#runtime = runtime;
    this.isInteractive = allowed && runtime.stdin.isTTY === true && runtime.stderr.isTTY === true;
  }

  /** @throws invalid `input-needed` without a terminal; aborted `interrupted` on Ctrl-C. */
  async text(question: TextQuestion): Promise<string> {
    const { check } = question;
    const answer = await this.#ask(question, {
      type: 'input',
      ...(question.default === undefined ? {} : { default: question.default }),
      ...(check === undefined ? {} : { validate: async (text: string) => problemOf(check, text) }),
    });
    return String(answer);
  }

  /**
   * Asks without showing what is typed, and again until the answer can be used. @throws as `text`. Inquirer's own check
   * would keep what was typed, where nobody sees it, and add the next try to it.
   */
  async secret(question: Omit<TextQuestion, 'default'>): Promise<string> {
    const check = question.check ?? requireSome;
    for (;;) {
      const answer = String(await this.#ask(question, { type: 'password' }));
      const problem = await problemOf(check, answer);
      if (problem === true) return answer;
      await write(this.#runtime.stderr, `${problem}\n`);
    }
  }

  /** @throws as `text`. */
  async choice(question: ChoiceQuestion): Promise<string> {
    return String(await this.#ask(question, { type: 'select', choices: question.choices }));
  }

  /** Asks for a yes, defaulting to no. @throws as `text`; aborted `not-confirmed` for a no. */
  async confirm(question: Question): Promise<void> {
    const answer = await this.#ask(question, { type: 'confirm', default: false });
    if (answer !== true)
      throw new SgwError('aborted', 'not-confirmed', 'nothing was changed: the question was answered with no');
  }

  async #ask(question: Question, prompt: Record<string, unknown>): Promise<unknown> {
    if (!this.isInteractive) {
      throw new SgwError('invalid', 'input-needed', `${question.flag} was not given, and can not be asked for here`, {
        hint: `Give ${question.flag}.`,
        details: { flag: question.flag },
      });
    }
    const { default: inquirer } = await import('inquirer');
    const { stdin, stderr, interrupt } = this.#runtime;
    const ask = inquirer.createPromptModule({
      input: stdin,
      output: stderr,
      signal: interrupt,
    }) as unknown as Ask;
    try {
      const answers = (await ask({ ...prompt, name: 'answer', message: question.message })) as { answer: unknown };
      return answers.answer;
    } catch (error) {
      if (error instanceof Error && /^(?:ExitPrompt|AbortPrompt|CancelPrompt)Error$/.test(error.name)) {
        throw new SgwError('aborted', 'interrupted', 'interrupted while asking; nothing was changed', { cause: error });
      }
      throw error;
    }
  }
}

function requireSome(text: string): void {
  if (text === '') throw new SgwError('invalid', 'input-needed', 'nothing was typed');
}

async function problemOf(check: (text: string) => unknown, text: string): Promise<true | string> {
  try {
    await check(text);
    return true;
  } catch (error) {
    if (!(error instanceof Error)) return String(error);
    return error instanceof SgwError && error.hint !== undefined ? `${error.message}. ${error.hint}` : error.message;
  }
}
