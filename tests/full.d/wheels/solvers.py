# %% cvxpy==1.9.3 (2291)
import cvxpy
x = cvxpy.Variable(2)
problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(x - [1, 2])), [x >= 0, cvxpy.sum(x) == 2])
print(round(problem.solve(), 4), x.value.round(3))

# %% osqp==1.1.3 (2244)
import numpy, osqp, scipy.sparse
solver = osqp.OSQP()
solver.setup(scipy.sparse.csc_matrix([[4.0, 1], [1, 2]]), numpy.ones(2), scipy.sparse.eye(2, format='csc'), numpy.zeros(2), numpy.ones(2), verbose=False)
print(solver.solve().x.round(3))

# %% scs==3.3.1 (2539)
import numpy, scipy.sparse, scs
data = {'A': scipy.sparse.csc_matrix([[-1.0]]), 'b': numpy.array([-1.0]), 'c': numpy.array([1.0])}
print(scs.SCS(data, {'l': 1}, verbose=False).solve()['x'].round(3))

# %% ecos==2.0.14 (4637)
import ecos, numpy, scipy.sparse
print(ecos.solve(numpy.array([1.0]), scipy.sparse.csc_matrix([[-1.0]]), numpy.array([-1.0]), {'l': 1}, verbose=False)['x'].round(3))

# %% clarabel==0.11.1 (2561)
import clarabel, numpy, scipy.sparse
settings = clarabel.DefaultSettings()
settings.verbose = False
solver = clarabel.DefaultSolver(scipy.sparse.csc_matrix((1, 1)), numpy.array([1.0]), scipy.sparse.csc_matrix([[-1.0]]), numpy.array([-1.0]), [clarabel.NonnegativeConeT(1)], settings)
print(round(solver.solve().x[0], 3))

# %% highspy==1.16.0 (2867)
import highspy
model = highspy.Highs()
model.setOptionValue('output_flag', False)
x = model.addVariable(lb=0, ub=4)
model.maximize(x * 2)
print(model.getInfo().objective_function_value)

# %% ortools==9.15.6755 (2074)
import ortools.sat.python.cp_model as cp_model
model = cp_model.CpModel()
x, y = model.new_int_var(0, 10, 'x'), model.new_int_var(0, 10, 'y')
model.add(x + 2 * y <= 14)
model.maximize(x + 3 * y)
solver = cp_model.CpSolver()
solver.parameters.num_workers = 2
print(solver.solve(model) == cp_model.OPTIMAL, solver.objective_value)

# %% cvxopt==1.3.3 (4173)
import cvxopt.solvers
cvxopt.solvers.options['show_progress'] = False
print(round(cvxopt.solvers.lp(cvxopt.matrix([1.0]), cvxopt.matrix([-1.0]), cvxopt.matrix([-1.0]))['x'][0], 3))

# %% casadi==3.8.2 (5055)
import casadi
x = casadi.SX.sym('x')
print(casadi.Function('f', [x], [casadi.jacobian(x**3, x)])(2))

# %% nlopt==2.11.0 (6222)
import nlopt
solver = nlopt.opt(nlopt.LN_COBYLA, 1)
solver.set_min_objective(lambda x, gradient: (x[0] - 2) ** 2)
solver.set_xtol_rel(1e-6)
print(solver.optimize([0.0]).round(3))

# %% z3-solver==5.4.1.0 (2394)
import z3
x = z3.Int('x')
solver = z3.Solver()
solver.add(x * x == 49, x > 0)
print(solver.check(), solver.model()[x])

# %% rdkit==2026.9.1 (1922)
import rdkit.Chem, rdkit.Chem.Descriptors
molecule = rdkit.Chem.MolFromSmiles('CC(=O)Oc1ccccc1C(=O)O')
print(rdkit.Chem.MolToSmiles(molecule), round(rdkit.Chem.Descriptors.MolWt(molecule), 2))

# %% biopython==1.88 (1420)
import Bio.Align, Bio.Seq
print(Bio.Align.PairwiseAligner().score('ACGT', 'ACT'), Bio.Seq.Seq('ATG').translate())

# %% pysam==0.24.1 (4336)
import pysam
with pysam.AlignmentFile('a.bam', 'wb', header={'SQ': [{'SN': 'chr1', 'LN': 1000}]}) as file:
    print(file.references)

# %% igraph==1.0.0 (2820)
import igraph
print(igraph.Graph.Ring(10).diameter(), igraph.Graph.Full(5).ecount())

# %% leidenalg==0.12.0 (6012)
import igraph, leidenalg
print(len(leidenalg.find_partition(igraph.Graph.Famous('Zachary'), leidenalg.ModularityVertexPartition, seed=1)))

# %% rustworkx==0.18.1 (1536)
import rustworkx
print(rustworkx.dijkstra_shortest_path_lengths(rustworkx.generators.path_graph(5), 0, lambda edge: 1.0))
