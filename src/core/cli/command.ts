/** The base of every command: the global flags, and no output of its own by oclif. */
import { Command, type Interfaces } from '@oclif/core';
import { SgwError } from '../kit/index.ts';
import { namesGateway } from './argv.ts';
import { COMMAND_TABLE } from './command-table.ts';
import { globalFlags, type GlobalFlags } from './flags.ts';
import { currentRuntime } from './runtime.ts';
import { Session } from './session.ts';
import { storeLocation, type StoreFlags } from './store-location.ts';

export abstract class SgwCommand extends Command {
  static override baseFlags = globalFlags;

  /** Notes first whether the gateway is elsewhere: paths mean something else then. */
  protected override async parse<
    F extends Interfaces.OutputFlags<Interfaces.FlagInput>,
    B extends Interfaces.OutputFlags<Interfaces.FlagInput>,
    A extends Interfaces.OutputArgs<Interfaces.ArgInput>,
  >(options?: Interfaces.Input<F, B, A>, argv: string[] = this.argv): Promise<Interfaces.ParserOutput<F, B, A>> {
    const runtime = currentRuntime();
    runtime.isRemote = namesGateway(argv, runtime.env);
    const verb = (this.id ?? '').replaceAll(':', ' ');
    if (runtime.isRemote && COMMAND_TABLE[verb]?.isOnTheSpot === true) throw onTheSpot(verb);
    return await super.parse<F, B, A>(options, argv);
  }

  /** Opens the session of this run. Use it with `await using`, so that the gateway is closed. */
  protected session(flags: GlobalFlags): Session {
    return new Session(flags);
  }

  /** The same for a verb that can read a store alone, with `readStoreFlags`. */
  protected readingSession(flags: GlobalFlags & StoreFlags): Session {
    return new Session(flags, storeLocation(flags));
  }

  /** The same for a verb that takes the store otherwise. */
  protected storeSession(flags: GlobalFlags, store: string): Session {
    return new Session(flags, store);
  }

  /** Failures go to `main` untouched: it alone reports them and chooses the exit code. */
  protected override async catch(error: Error): Promise<never> {
    throw error;
  }
}

const onTheSpot = (verb: string): SgwError =>
  new SgwError('denied', 'not-from-afar', `${verb} is for whoever is at the gateway's machine`, {
    hint: `Run it there, or leave --gateway (and SGW_GATEWAY) out.`,
  });
