// BullMQ: jobs are removed when they are completed, as its guide advises; a worker acks and claims in one call.
import { Queue, Worker } from 'bullmq'

const connection = { path: process.env.BENCH_REDIS, maxRetriesPerRequest: null }
const settings = { removeOnComplete: true, attempts: 3 }

export async function open({ clients }) {
	const queue = new Queue('bench', { connection })
	const workers = []
	await queue.waitUntilReady()
	return {
		async enqueue(payloads) {
			if (payloads.length === 1) await queue.add('job', payloads[0], settings)
			else await queue.addBulk(payloads.map((data) => ({ name: 'job', data, opts: settings })))
		},
		ready: () => queue.getWaitingCount(),
		async start(onJob, onDone) {
			const worker = new Worker('bench', async (job) => onJob(job.data), { connection, concurrency: clients })
			worker.on('completed', (job) => onDone(job.data))
			workers.push(worker)
			await worker.waitUntilReady()
		},
		async close() {
			await Promise.all(workers.map((worker) => worker.close()))
			await queue.close()
		}
	}
}
