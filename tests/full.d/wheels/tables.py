# %% pandas==3.1.1 (37)
import io, pandas
frame = pandas.read_csv(io.StringIO('a,b,when\n1,x,2020-01-01\n2,y,2020-02-01\n3,x,2020-03-01\n'), parse_dates=['when'])
print(frame.groupby('b').a.sum().to_dict(), frame.when.dt.month.tolist())
print(frame.describe().round(3).to_string())

# %% pyarrow==26.0.1 (90)
import pyarrow, pyarrow.compute, pyarrow.parquet
table = pyarrow.table({'a': list(range(1000)), 'b': ['x', 'y'] * 500})
pyarrow.parquet.write_table(table, 'table.parquet')
again = pyarrow.parquet.read_table('table.parquet')
print(again.num_rows, pyarrow.compute.sum(again['a']), again.group_by('b').aggregate([('a', 'sum')]).to_pydict())

# %% polars==2.1.0 (496)
import polars
frame = polars.DataFrame({'a': [1, 2, 3, 4], 'b': ['x', 'y', 'x', 'y']})
print(frame.lazy().group_by('b').agg(polars.col('a').sum()).sort('b').collect().rows())
print(frame)

# %% duckdb==2.0.1 (597)
import duckdb
print(duckdb.sql('SELECT sum(range), avg(range) FROM range(100000)').fetchall())

# %% datafusion==55.0.0 (2316)
import datafusion
print(datafusion.SessionContext().sql('SELECT 6 * 7 AS answer').to_pydict())

# %% deltalake==1.6.6 pyarrow==26.0.1 (822)
import deltalake, pyarrow
deltalake.write_deltalake('delta', pyarrow.table({'a': [1, 2, 3]}))
print(deltalake.DeltaTable('delta').version())

# %% fastparquet==2026.9.0 (1121)
import fastparquet, pandas
fastparquet.write('fast.parquet', pandas.DataFrame({'a': [1, 2, 3]}))
print(fastparquet.ParquetFile('fast.parquet').to_pandas().a.tolist())

# %% h5py==3.16.0 (629)
import h5py
with h5py.File('file.h5', 'w') as file:
    file.create_dataset('a', data=list(range(100)), compression='gzip')
with h5py.File('file.h5') as file:
    print(int(file['a'][:].sum()), file['a'].compression)

# %% tables==3.11.1 (2530)
import tables
with tables.open_file('file.h5', 'w') as file:
    file.create_earray('/', 'a', obj=[1, 2, 3], filters=tables.Filters(1, 'blosc'))
    print(file.root.a[:].tolist())

# %% netcdf4==1.7.5.1.post1 (2296)
import netCDF4
with netCDF4.Dataset('file.nc', 'w') as data:
    data.createDimension('x', 4)
    data.createVariable('v', 'f8', ('x',))[:] = [1, 2, 3, 4]
with netCDF4.Dataset('file.nc') as data:
    print(data['v'][:].sum(), data.data_model)

# %% cftime==1.6.6.1 (2269)
import cftime
print(cftime.num2date(400, 'days since 2000-01-01', calendar='360_day'))

# %% xarray==2026.9.0 (954)
import xarray
print(xarray.DataArray([[1, 2], [3, 4]], dims=('x', 'y')).sum('x').values)

# %% pyreadstat==1.3.7 pandas==3.1.1 (2686)
import pandas, pyreadstat
pyreadstat.write_sav(pandas.DataFrame({'a': [1.0, 2.0]}), 'file.sav')
print(pyreadstat.read_sav('file.sav')[0].a.tolist())

# %% lancedb==0.40.0 (1515)
import lancedb
table = lancedb.connect('lance').create_table('t', [{'vector': [1.0, 2.0], 'n': 1}, {'vector': [5.0, 6.0], 'n': 2}])
print(table.search([5.0, 5.0]).limit(1).to_list()[0]['n'])

# %% python-calamine==0.9.1 (2287)
import io, python_calamine
try:
    python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(b'no workbook'))
except python_calamine.CalamineError as error:
    print(type(error).__name__)

# %% sqlalchemy==2.1.9 (98)
import sqlalchemy
engine = sqlalchemy.create_engine('sqlite://')
with engine.connect() as connection:
    print(connection.execute(sqlalchemy.text('SELECT 6 * 7')).scalar(), sqlalchemy.util.has_compiled_ext())

# %% statsmodels==0.15.0 (662)
import numpy, statsmodels.api
x = numpy.arange(20.0)
print(statsmodels.api.OLS(3 * x + 1, statsmodels.api.add_constant(x)).fit().params.round(6))
print(statsmodels.tsa.arima.model.ARIMA(numpy.sin(x), order=(1, 0, 0)).fit().params.shape)
