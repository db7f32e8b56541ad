// graphile-worker: for batches it fetches as many jobs as that into its local queue, and joins completions.
import { Logger, makeWorkerUtils, run } from 'graphile-worker'
import pg from 'pg'

const quiet = { debug() {}, info() {}, warn() {}, error: console.error }

export async function open({ batch, clients }) {
	const logger = new Logger(() => (level, message) => quiet[level === 'warning' ? 'warn' : level]?.(message))
	const pgPool = new pg.Pool({ max: clients + 4 })
	pgPool.on('error', console.error)
	pgPool.on('connect', (client) => client.on('error', console.error))
	const utils = await makeWorkerUtils({ pgPool, logger })
	await utils.migrate()
	let runner
	return {
		async enqueue(payloads) {
			if (payloads.length === 1) await utils.addJob('bench', payloads[0])
			else await utils.addJobs(payloads.map((payload) => ({ identifier: 'bench', payload })))
		},
		ready: async () => Number((await pgPool.query('SELECT count(*) FROM graphile_worker._private_jobs')).rows[0].count),
		settle: () => pgPool.query('VACUUM (ANALYZE) graphile_worker._private_jobs'),
		async start(onJob, onDone) {
			const batched = batch === 1 ? {} : { localQueue: { size: batch }, completeJobBatchDelay: 0 }
			runner = await run({ pgPool, logger, noHandleSignals: true, preset: { worker: { concurrentJobs: clients, ...batched } },
				taskList: { bench: async (payload) => onJob(payload) } })
			runner.events.on('job:complete', ({ job }) => onDone(job.payload))
		},
		async close() {
			await runner?.stop()
			await utils.release()
			await pgPool.end()
		}
	}
}
